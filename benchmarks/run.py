"""Run: all benchmarks, one after the other, as one page of Markdown.

    python -m benchmarks.run [--quick] [--only speed quality ...] [--output benchmarks.md]

Prints a table of the targets first, then every benchmark's own tables. A full run takes an hour
and more on two cores; --quick takes some minutes, uses short clips and two of the real ones. Each
benchmark is a process of its own, so that none sees another's memory or threads. What cannot run
here is left out, with a line that says why: set NED_CLIPS and NED_JUDGE to the folders of clips and
classifiers, NED_FLAME_SUPPORT to that of FLAME's free files. What fails is told likewise, the
others go on, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import (
    evaluate,
    footage,
    memory,
    quality,
    rasterizer,
    rig_variance,
    table,
)


@dataclass(frozen=True)
class Benchmark:
    """One module of this package; all of them print Markdown and write their numbers with --json.

    Attributes:
        modules: that must be installed. footage: needs real clips. accepts: the options of this
            page's that it knows, too. quick: its flags for a quick run.
    """

    modules: tuple[str, ...] = ()
    footage: bool = False
    accepts: tuple[str, ...] = ()
    quick: tuple[str, ...] = ("--quick",)


BENCHMARKS = {
    "speed": Benchmark(accepts=("clips_folder",)),
    "memory": Benchmark(accepts=("clips_folder",)),
    "rig_variance": Benchmark(footage=True, accepts=("clips_folder",)),
    "quality": Benchmark(footage=True, accepts=("clips_folder", "judge")),
    "evaluate": Benchmark(accepts=("clips_folder", "judge")),
    "rasterizer": Benchmark(),
    "flame_fit": Benchmark(("torch", "pytest"), quick=("--takes", "1", "--frames", "75")),
    "staged": Benchmark(("torch", "pytest"), accepts=("clips_folder",)),
    "manipulation": Benchmark(("torch",)),
    "learned_director": Benchmark(("torch",), accepts=("clips_folder", "judge")),
    "neural_renderer": Benchmark(("torch",)),
    "reenactment": Benchmark(
        ("torch",), footage=True, accepts=("clips_folder",), quick=("--renderers", "warp")
    ),
    "inner_loops": Benchmark(("pytest_benchmark",)),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="short clips, fewer runs")
    parser.add_argument("--only", nargs="+", choices=tuple(BENCHMARKS), default=list(BENCHMARKS))
    parser.add_argument("--clips-folder", type=Path)
    parser.add_argument("--judge", type=Path)
    parser.add_argument("--output", type=Path, help="also write the page here")
    options = parser.parse_args(arguments)
    results: dict[str, Any] = {}
    texts, left_out, failed = [], [], []
    for name in options.only:
        why = hindrance(name, options.clips_folder)
        if why is not None:
            left_out.append(f"{name} was left out: {why}.")
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            text, results[name] = run(name, options)
            texts.append(text)
        except RuntimeError as error:
            failed.append(str(error))
    rows = targets(results)
    page = [
        "## Benchmarks",
        *(["Quick: short and few clips; the targets are those of a full run."] * options.quick),
        *([table.markdown(["measure", "value", "target", "met"], rows)] if rows else []),
        *left_out,
        *failed,
        *texts,
    ]
    text = "\n\n".join(page) + "\n"
    print(text)
    if options.output is not None:
        options.output.write_text(text, encoding="utf-8")
    return 1 if failed else 0


def hindrance(name: str, clips: Path | None = None) -> str | None:
    """Why a benchmark cannot run here; None if it can."""
    benchmark = BENCHMARKS[name]
    if benchmark.footage and footage.folder(clips, "NED_CLIPS", "shared/clips") is None:
        return "set NED_CLIPS to a folder of real clips"
    missing = [module for module in benchmark.modules if importlib.util.find_spec(module) is None]
    if missing:
        extra = "neural" if missing[0] == "torch" else "dev"
        return f"{missing[0]} is not installed, see pip install 'ned[{extra}]'"
    return None


def run(name: str, options: argparse.Namespace) -> tuple[str, Any]:
    """One benchmark in a process of its own: its Markdown and its numbers.

    Raises:
        RuntimeError: it failed.
    """
    benchmark = BENCHMARKS[name]
    command = [sys.executable, "-m", f"benchmarks.{name}"]
    if options.quick:
        command += benchmark.quick
    for flag in benchmark.accepts:
        if getattr(options, flag) is not None:
            command += [f"--{flag.replace('_', '-')}", str(getattr(options, flag).resolve())]
    if name == "flame_fit" and footage.folder(None, "NED_FLAME_SUPPORT", "shared/flame_support"):
        command += ["--topology", "full"]
    elif name == "flame_fit":
        command += ["--topology", "tiny"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        done = subprocess.run(
            [*command, "--json", str(path)],
            cwd=footage.ROOT,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            check=False,
        )
        if done.returncode != 0:
            code = done.returncode
            how = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
            raise RuntimeError(f"**{name} {how}**; run python -m benchmarks.{name} to see why.")
        return done.stdout.strip(), table.load(path)


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
            at_most(f"{name}, wall time", whole["ratio"], whole["limit"])
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
    measured = []
    if "quality" in results:
        measured += quality.targets(results["quality"]["rows"])
    if "evaluate" in results:
        measured += evaluate.targets(results["evaluate"])
    for name, value, target, upper in measured:
        (at_most if upper else at_least)(name, value, target)
    if "rasterizer" in results:
        for row in results["rasterizer"]["rows"]:
            if row["job"] == "a batch, 2 threads" and results["rasterizer"]["size"] == 224:
                at_least("rasterizer, 224 x 224, images/s", row["rate"], rasterizer.LIMIT)
        rate = results["rasterizer"]["rig_rate"]
        at_least("conditioning of the rig, frames/s", rate, rasterizer.RIG_LIMIT)
    if "staged" in results:
        for row in results["staged"]["rows"]:
            if not math.isnan(row["limit"] or math.nan):
                name = f"preprocessing, {row['road']}, seconds per frame"
                at_most(name, row["seconds"], row["limit"])
    if "manipulation" in results:
        for row in results["manipulation"]["rows"]:
            if row["target"] and not math.isnan(row["target"]):
                name = f"translation in {row['kind']}, times the loop over windows"
                at_least(name, row["ratio"], row["target"])
    return rows


if __name__ == "__main__":
    sys.exit(main())
