"""Evaluate: how long `ned evaluate` takes for one result, and how large its report is.

    python -m benchmarks.evaluate [--seconds 10] [--runs 3] [--json evaluate.json]

The source is 10 s of a 512-pixel clip (real footage from NED_CLIPS, repeated or cut; else the
portrait made to move), the result the same clip directed to an emotion. Timed is the whole command,
from starting Python to the report, with the classifiers of NED_JUDGE and once more without. The
baseline is decoding both clips with PyAV, as a process too, by turns with the command; quoted are
medians, and ratios of neighbouring runs. "CPU" counts the processor time of all threads. Networks
of the user's own assets (LPIPS, SyncNet and others) are left out: their cost is their own.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import footage, table
from benchmarks.clock import timed

LIMIT, LIMIT_SIZE = 20.0, 3.0  # seconds of wall time, megabytes of the report page


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--clips-folder", type=Path)
    parser.add_argument("--judge", type=Path, help="folder of the ONNX classifiers")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--emotion", default="happy")
    parser.add_argument("--quick", action="store_true", help="three seconds, one run")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--decode", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.decode:
        decode(options.decode)
        return
    with tempfile.TemporaryDirectory() as folder:
        data = measure(options, Path(folder))
    print(report(data))
    table.save(options.json, data)


def measure(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """All numbers of this script."""
    seconds = min(options.seconds, 3.0) if options.quick else options.seconds
    runs = 1 if options.quick else options.runs
    clip = footage.small_clip(options.clips_folder, work)
    source, result = work / f"source{clip.suffix}", work / f"{options.emotion}.mp4"
    footage.write_length(clip, source, seconds)
    ned = [sys.executable, "-m", "ned"]
    timed([*ned, "direct", str(source), "--emotion", options.emotion, "-o", str(result)])
    judge = footage.folder(options.judge, "NED_JUDGE", "shared/judge")
    nothing = {"NED_ASSETS": str(work / "no_assets"), "NED_JUDGE": ""}
    command = [*ned, "evaluate", str(source), str(result), "--emotion", options.emotion]
    decoding = [sys.executable, __file__, "--decode", str(source), str(result)]
    rows = []
    for name, flags in (("without judges", []), ("with both judges", ["--judge", str(judge)])):
        if flags and judge is None:
            continue
        report_folder = work / name.replace(" ", "_")
        times, baseline = [], []
        for _ in range(runs):
            baseline.append(timed(decoding))
            times.append(timed([*command, *flags, "-o", str(report_folder)], nothing))
        rows.append(
            {
                "name": name,
                "decoding": statistics.median(wall for wall, _ in baseline),
                "seconds": statistics.median(wall for wall, _ in times),
                "cpu": statistics.median(cpu for _, cpu in times),
                "ratio": statistics.median(
                    t[0] / b[0] for t, b in zip(times, baseline, strict=True)
                ),
                "megabytes": (report_folder / "report.html").stat().st_size / 1e6,
            }
        )
    return {
        "machine": table.machine(),
        "clip": clip.stem,
        "length": seconds,
        "runs": runs,
        "rows": rows,
    }


def report(data: dict[str, Any]) -> str:
    """The numbers as Markdown."""
    rows = [
        [
            *(row["name"], row["decoding"], row["seconds"], row["ratio"], row["cpu"]),
            table.verdict(row["seconds"], LIMIT, at_least=False) if data["length"] == 10 else "-",
            row["megabytes"],
            table.verdict(row["megabytes"], LIMIT_SIZE, at_least=False),
        ]
        for row in data["rows"]
    ]
    headings = [
        *("ned evaluate", "decoding both s", "seconds", "ratio", "CPU s", f"<= {LIMIT:g} s"),
        *("report MB", f"<= {LIMIT_SIZE:g} MB"),
    ]
    heading = f"### Evaluation ({data['machine']}; {data['length']:g} s of {data['clip']}, "
    return f"{heading}median of {data['runs']})\n\n{table.markdown(headings, rows)}"


def targets(data: dict[str, Any]) -> list[tuple[str, float, float, bool]]:
    """Name, value, target, and whether the target is an upper limit; of the slowest row."""
    last, length = data["rows"][-1], data["length"]
    size = (f"report of {length:g} s, megabytes", last["megabytes"], LIMIT_SIZE, True)
    if length < 10:
        return [size]
    return [
        (f"ned evaluate {last['name']}, {length:g} s, seconds", last["seconds"], LIMIT, True),
        size,
    ]


def decode(paths: list[str]) -> None:
    """The baseline: decode clips and look at nothing."""
    import av

    for path in paths:
        with av.open(path) as container:
            container.streams.video[0].thread_type = "AUTO"
            for _ in container.decode(video=0):
                pass


if __name__ == "__main__":
    main()
