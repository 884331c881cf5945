"""Manipulation: a clip through the learned manipulator, all windows at once against one at a time.

    python -m benchmarks.manipulation [--runs 5] [--frames 200] [--threads 2] [--json FILE]

Networks of NED's sizes with new weights translate made-up values to one style. The baseline calls
the same generator for one window after the other. Quoted are medians of wall time and of processor
time; runs of the three kinds alternate, so that a busy machine slows them alike. "Difference" is
the largest one from the baseline's output, as a share of that output's standard deviation.
"At most" is how many times as fast it would be if nothing but the products of matrices took time,
at the rate that this machine was found to reach with one large product.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import table

LIMITS = {"float32": 8, "bfloat16": 25}  # times as fast as one window at a time, on two cores


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clips-folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data = measure(2 if options.quick else options.runs, options.frames, options.threads)
    print(report(data))
    table.save(options.json, data)


def measure(runs: int, frames: int, threads: int) -> dict[str, Any]:
    """All numbers of this script."""
    import torch

    from manipulator.networks import Networks
    from manipulator.translation import (
        TranslationSettings,
        overlap_add,
        shared_wishes,
        translate,
        windows_of,
    )
    from manipulator.unrolled_generator import UnrolledGenerator

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    networks = Networks().initialise(0).eval()
    values, styles = torch.randn(frames, 51), torch.randn(1, 16)
    wishes, windows = shared_wishes(styles, frames), windows_of(values)
    short = UnrolledGenerator(networks.generator)

    @torch.inference_mode()
    def one_at_a_time() -> Any:
        return overlap_add(torch.cat([networks.generator(w[None], styles) for w in windows]))

    kinds: dict[str, Callable[[], Any]] = {
        "one at a time": one_at_a_time,
        "float32": lambda: translate(values, wishes, networks),
        "bfloat16": lambda: translate(
            values, wishes, networks, TranslationSettings(precision="bfloat16"), short
        ),
    }
    outputs = {name: run() for name, run in kinds.items()}
    wall: dict[str, list[float]] = {name: [] for name in kinds}
    busy: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(runs):
        for name, run in kinds.items():
            start, begun = time.perf_counter(), time.process_time()
            run()
            wall[name].append(time.perf_counter() - start)
            busy[name].append(time.process_time() - begun)
    base = outputs["one at a time"]
    needed = _products(networks.generator, frames)
    limits = {
        name: _rate(torch.float32 if name == "float32" else torch.bfloat16) / needed
        for name in LIMITS
    }
    rows = [
        {
            "kind": name,
            "seconds": statistics.median(wall[name]),
            "best": min(wall[name]),
            "busy": statistics.median(busy[name]),
            "ratio": statistics.median(wall["one at a time"]) / statistics.median(wall[name]),
            "target": LIMITS.get(name),
            "limit": limits.get(name, 0) * statistics.median(busy["one at a time"]),
            "difference": float((outputs[name] - base).abs().max() / base.std()),
        }
        for name in kinds
    ]
    return {"frames": frames, "threads": threads, "rows": rows, "machine": table.machine()}


def _products(generator: Any, frames: int, length: int = 10) -> float:
    """Operations in products of matrices that all windows of a clip need, all being shared that
    can be: what comes before the first recurrent step depends on the frame alone."""
    windows = frames - length + 1
    steps = windows * length
    total = 0
    for name, weight in generator.named_parameters():
        if weight.ndim == 2:
            shared = name.startswith("seq1") or "ih_l0" in name
            again = windows * (length - 1) if name.startswith("LSTM.weight_hh") else steps
            total += 2 * weight.numel() * (frames if shared else again)
    return float(total)


def _rate(dtype: Any) -> float:
    """Operations per second of processor time in a large product of matrices."""
    import torch

    first, second = torch.randn(2048, 1024).to(dtype), torch.randn(1024, 4096).to(dtype)
    taken = []
    for _ in range(6):
        begun = time.process_time()
        torch.mm(first, second)
        taken.append(time.process_time() - begun)
    return 2 * 2048 * 1024 * 4096 / min(taken)


def report(data: dict[str, Any]) -> str:
    """The numbers as Markdown."""
    rows = [
        [
            row["kind"],
            row["seconds"],
            row["best"],
            row["busy"],
            row["ratio"],
            row["limit"] or None,
            row["target"],
            "-" if row["target"] is None else table.verdict(row["ratio"], row["target"]),
            f"{row['difference']:.1e}",
        ]
        for row in data["rows"]
    ]
    headings = ["windows", "s", "best s", "processor s", "times as fast"]
    headings += ["at most", "target", "met", "diff."]
    return "\n\n".join(
        [
            "### Learned manipulator",
            f"{data['frames']} frames, {data['threads']} threads. {data['machine']}.",
            table.markdown(headings, rows),
        ]
    )


if __name__ == "__main__":
    main()
