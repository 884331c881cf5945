"""Memory: whether directing a long clip needs more of it than directing a short one.

    python -m benchmarks.memory [--short 5] [--long 120] [--hd] [--trace] [--json memory.json]

Runs `ned direct` on a clip of 5 s and one of 120 s, both made of the same footage (repeated packet
by packet, nothing is encoded anew; each repetition is a cut) and quotes the peak resident set of
the whole process. The longer one may need 5 % more. The encoder runs with preset ultrafast (or
--preset) to keep the run short; that makes the encoder's own share small, so the growth that is
left belongs to us. With --hd the footage is 1080p instead of 512 pixels. --trace quotes the
resident set after each tenth of the run, which tells whether it creeps or settles.
Real footage is taken from NED_CLIPS; without it a portrait is made to move.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import footage, table

LIMIT = 1.05
_KILOBYTES = 1024 if sys.platform == "darwin" else 1  # unit of ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--clips-folder", type=Path)
    parser.add_argument("--short", type=float, default=5.0)
    parser.add_argument("--long", type=float, default=120.0)
    parser.add_argument("--hd", action="store_true", help="1080p footage")
    parser.add_argument("--preset", default="ultrafast")
    parser.add_argument("--emotion", default="happy")
    parser.add_argument("--trace", action="store_true", help="resident set along the run")
    parser.add_argument("--quick", action="store_true", help="3 s against 15 s")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data = measure(options)
    print(report(data, options.trace))
    table.save(options.json, data)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Peak memory of both lengths."""
    lengths = (3.0, 15.0) if options.quick else (options.short, options.long)
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        find = footage.full_hd_clip if options.hd else footage.small_clip
        clip = find(options.clips_folder, work)
        for seconds in lengths:
            path = work / f"{clip.stem}_{seconds:g}s{clip.suffix}"
            footage.write_length(clip, path, seconds)
            flags = ["--emotion", options.emotion, "--preset", options.preset]
            command = ["direct", str(path), *flags, "-o", str(work / "result.mp4")]
            runs.append({"seconds": seconds, **_peak([sys.executable, "-m", "ned", *command])})
    return {
        "machine": table.machine(),
        "clip": clip.stem,
        "preset": options.preset,
        "runs": runs,
        "ratio": runs[1]["peak"] / runs[0]["peak"],
    }


def report(data: dict[str, Any], traced: bool = False) -> str:
    """The numbers as Markdown."""
    short, long = data["runs"]
    met = table.verdict(data["ratio"], LIMIT, at_least=False)
    rows = [
        [
            *(data["clip"], short["seconds"], short["peak"], long["seconds"], long["peak"]),
            *(data["ratio"], met),
        ]
    ]
    headings = ["clip", "short s", "peak MiB", "long s", "peak MiB", "ratio", f"<= {LIMIT:g}"]
    text = f"### Memory ({data['machine']}, preset {data['preset']})\n\n"
    text += table.markdown(headings, rows)
    if traced:
        shares = [f"{10 * k} %" for k in range(1, 11)]
        rows = [[run["seconds"], *run["trace"]] for run in data["runs"]]
        text += "\n\nResident set in MiB along each run:\n\n"
        text += table.markdown(["seconds of clip", *shares], rows)
    return text


def _peak(command: list[str]) -> dict[str, Any]:
    """Peak resident set of a process in MiB, and its course; ends the script if it fails."""
    series: list[float] = []
    with tempfile.TemporaryFile() as messages:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=footage.ROOT, stdout=messages, stderr=subprocess.STDOUT
        )
        while True:
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
            if done:
                break
            series.append(_resident(process.pid))
            time.sleep(0.2)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            messages.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{messages.read().decode()[-2000:]}")
    marks = [series[min(len(series) - 1, k * len(series) // 10)] for k in range(1, 11)]
    return {
        "peak": usage.ru_maxrss / _KILOBYTES / 1024,
        "trace": marks,
        "series": series,
        "took": time.perf_counter() - started,
    }


def _resident(process: int) -> float:
    """Resident set in MiB; NaN where /proc does not tell."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return float("nan")
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
