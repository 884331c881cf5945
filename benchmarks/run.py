"""Run: all benchmarks, one after the other, as one page of Markdown.

    python benchmarks/run.py [--quick] [--output benchmarks.md]

Prints a table of the targets first, then every benchmark's own tables. A full run takes half an
hour and more on two cores; --quick takes some minutes, uses short clips and two of the real ones.
What needs real footage (quality, rig variance) is left out, with a line that says so, where there
is none: set NED_CLIPS and NED_JUDGE to the folders of clips and classifiers.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import footage
import memory
import quality
import rig_variance
import speed
import table

_REPORTS = {
    "speed": speed.report,
    "memory": memory.report,
    "rig_variance": rig_variance.report,
    "quality": quality.report,
}
_NEED_FOOTAGE = ("rig_variance", "quality")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="short clips, fewer runs")
    parser.add_argument("--only", nargs="+", choices=tuple(_REPORTS), default=list(_REPORTS))
    parser.add_argument("--clips-folder", type=Path)
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--output", type=Path, help="also write the page here")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    left_out = []
    clips = footage.folder(options.clips_folder, "NED_CLIPS", "shared/clips")
    for name in options.only:
        if name in _NEED_FOOTAGE and clips is None:
            left_out.append(f"{name} was left out: set NED_CLIPS to a folder of real clips.")
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        results[name] = _run(name, options)
    rows = targets(results)
    page = [
        "## Benchmarks",
        *(["Quick: short and few clips; the targets are those of a full run."] * options.quick),
        *([table.markdown(["measure", "value", "target", "met"], rows)] if rows else []),
        *left_out,
        *(_REPORTS[name](data) for name, data in results.items()),
    ]
    text = "\n\n".join(page) + "\n"
    print(text)
    if options.output is not None:
        options.output.write_text(text, encoding="utf-8")


def targets(results: dict[str, Any]) -> list[list[Any]]:
    """A row per target: what was measured, what is wanted, and whether it is met."""
    rows: list[list[Any]] = []

    def at_least(name: str, value: float, target: float) -> None:
        if not math.isnan(value):
            rows.append([name, table.short(value), f">= {target:g}", table.verdict(value, target)])

    def at_most(name: str, value: float, target: float) -> None:
        if not math.isnan(value):
            met = table.verdict(value, target, at_least=False)
            rows.append([name, table.short(value), f"<= {target:g}", met])

    if "speed" in results:
        for whole in results["speed"]["whole"]:
            name = f"ned direct / bare encoding, {whole['clip']}, crf {whole['crf']:g}"
            at_most(f"{name}, wall time", whole["ratio"], speed.LIMIT_RATIO)
        for step in results["speed"]["steps"]:
            if step["target"]:
                at_least(f"{step['step']}, frames/s", step["fps"], step["target"])
    if "memory" in results:
        runs = results["memory"]["runs"]
        name = f"peak memory, {runs[1]['seconds']:g} s / {runs[0]['seconds']:g} s of clip"
        at_most(name, results["memory"]["ratio"], memory.LIMIT)
    if "rig_variance" in results:
        pooled = results["rig_variance"]["rows"][-1]["rig"]
        at_least("expression variance explained by the rig", pooled, rig_variance.LIMIT)
    if "quality" in results:
        for name, value, target, upper in quality.targets(results["quality"]["rows"]):
            (at_most if upper else at_least)(name, value, target)
    return rows


def _run(name: str, options: argparse.Namespace) -> Any:
    """One benchmark in a process of its own, so that none sees another's memory or threads."""
    command = [sys.executable, str(Path(__file__).with_name(f"{name}.py"))]
    if options.quick:
        command.append("--quick")
    if options.clips_folder:
        command += ["--clips-folder", str(options.clips_folder)]
    if options.judge and name == "quality":
        command += ["--judge", str(options.judge)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        done = subprocess.run(
            [*command, "--json", str(path)], stdout=subprocess.DEVNULL, check=False
        )
        if done.returncode != 0:
            code = done.returncode
            how = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
            sys.exit(f"{name} {how}; run {command[1]} by itself to see why")
        return table.load(path)


if __name__ == "__main__":
    main()
