"""Reenactment: how near warp, hybrid and neural come to held-out frames of real clips.

    python -m benchmarks.reenactment [--clips talk_512 ...] [--minutes 20] [--width 64] [--size 256]
        [--renderers warp hybrid neural] [--jobs 1] [--folder work] [--json reenactment.json]

Each clip is one actor: preprocessed with the rig, networks trained on its first 75 % for --minutes,
the rest made again and compared with what was filmed: crops of 256 x 256 pixels, the same frames
and the same pixels of the face for all. The neural renderer draws every frame from its own
parameters. Warp and hybrid move filmed pixels, so they make each frame from another held-out one,
at least 0.4 s away (seeded); their flicker is that of all frames made from one and the same.

GMSD (Xue et al. 2014) stands in for LPIPS: it needs no weights; less is better. Sharpness is the
mean gradient inside the face, made to filmed. Everything is kept in --folder: with the same options
nothing is prepared or trained twice (a training that was stopped begins anew).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import footage, table

if TYPE_CHECKING:
    from ned.core.files.actor import Actor
    from ned.evaluation.held_out import HeldOut

CLIPS = ["talk_512", "portrait_extreme_480", "portrait_sad_512"]
HELD_OUT = 0.25  # share of the frames, at the end
_COLUMNS = ("psnr", "mouth_psnr", "ssim", "gmsd", "sharpness", "flicker")


@dataclass(frozen=True)
class Task:
    """One clip, and what is asked of it.

    Attributes:
        folder: where everything of all clips is kept. threads: of torch.
        seed: of the frames that others are made from.
    """

    clip: Path
    folder: Path
    renderers: tuple[str, ...]
    minutes: float
    width: int
    size: int
    threads: int
    seed: int


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--clips", nargs="+", metavar="NAME", help=f"default {' '.join(CLIPS)}")
    parser.add_argument("--clips-folder", type=Path)
    parser.add_argument("--renderers", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--minutes", type=float, default=20.0, help="of training per network")
    parser.add_argument("--width", type=int, default=64, help="channels of the neural renderer")
    parser.add_argument("--size", type=int, default=256, help="side of its pictures in pixels")
    parser.add_argument("--jobs", type=int, default=1, help="clips at once; they share the cores")
    parser.add_argument("--threads", type=int, help="of each; by default its share of the cores")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "ned-reenactment"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    clips = footage.clips_folder(options.clips_folder)
    threads = options.threads or max(1, (os.cpu_count() or 1) // options.jobs)
    tasks = [
        Task(
            clip=clip,
            folder=options.folder,
            renderers=tuple(options.renderers),
            minutes=options.minutes,
            width=options.width,
            size=options.size,
            threads=threads,
            seed=options.seed,
        )
        for clip in footage.find_clips(clips, options.clips or CLIPS)
    ]
    data = measure(tasks, options.jobs)
    print(report(data))
    table.save(options.json, data)


def measure(tasks: list[Task], jobs: int = 1) -> list[dict[str, Any]]:
    """One row for every clip and renderer."""
    if jobs == 1:
        return [row for task in tasks for row in measure_clip(task)]
    with ThreadPoolExecutor(jobs) as pool:
        return [row for rows in pool.map(measure_apart, tasks) for row in rows]


def measure_apart(task: Task) -> list[dict[str, Any]]:
    """`measure_clip` in a process of its own."""
    path = task.folder / f"{task.clip.stem}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    words = ["--clips", task.clip.stem, "--clips-folder", task.clip.parent, "--json", path]
    for name in ("folder", "minutes", "width", "size", "threads", "seed"):
        words += [f"--{name}", getattr(task, name)]
    words = [sys.executable, "-m", "benchmarks.reenactment", *words, "--renderers", *task.renderers]
    command = [str(word) for word in words]
    subprocess.run(command, check=True, cwd=footage.ROOT, stdout=subprocess.DEVNULL)
    return table.load(path)


def measure_clip(task: Task) -> list[dict[str, Any]]:
    """One row for every renderer."""
    import torch

    from ned.commands.preprocess import preprocess
    from ned.core.files.actor import Actor
    from ned.evaluation.held_out import HeldOut
    from ned.options.preprocess import PreprocessOptions

    torch.set_num_threads(task.threads)
    video = task.folder / task.clip.stem / "videos" / task.clip.name
    if not video.exists():
        video.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(task.clip, video)
    actor = Actor(video.parent.parent)
    preprocess(PreprocessOptions(actor.folder, "test"))
    held_out = HeldOut.open(actor, HELD_OUT)
    known = {"clip": task.clip.stem, "frames": len(held_out.number)}
    return [
        {**known, "renderer": name, **MEASURES[name](task, actor, held_out)}
        for name in task.renderers
    ]


def measure_warp(task: Task, actor: Actor, held_out: HeldOut) -> dict[str, float]:
    """Frames made from each other by the warp alone."""
    return {"minutes": 0.0, **held_out.moved(seed=task.seed)}


def measure_hybrid(task: Task, actor: Actor, held_out: HeldOut) -> dict[str, float]:
    """The same, finished by a network."""
    from ned.commands.train_hybrid import train_hybrid
    from ned.options.train_hybrid import TrainHybridOptions
    from renderer.hybrid.renderer import HybridRenderer

    folder = task.folder / task.clip.stem / f"hybrid-{task.minutes:g}min"
    options = TrainHybridOptions(
        actor.videos,
        folder,
        minutes=task.minutes,
        held_out=HELD_OUT,
        seed=task.seed,
        restart=True,
    )
    once(folder, lambda: train_hybrid(options))
    renderer = HybridRenderer.load(folder)
    return {"minutes": task.minutes, **held_out.moved(renderer, task.seed)}


def measure_neural(task: Task, actor: Actor, held_out: HeldOut) -> dict[str, float]:
    """Frames drawn by a network of NED's layout from their own parameters."""
    from ned.commands.render import OWN, own_scores
    from ned.commands.train_renderer import train_renderer
    from ned.options.render import TrainRendererOptions

    name = f"neural-{task.width}-{task.size}-{task.minutes:g}min"
    folder = task.folder / task.clip.stem / name
    options = TrainRendererOptions(
        actor.folder,
        folder,
        minutes=task.minutes,
        niter=1_000_000,
        size=task.size,
        width=task.width,
        judge_width=task.width,
        held_out=HELD_OUT,
        patience=0,
        seed=task.seed,
        restart=True,
    )
    once(folder, lambda: train_renderer(options))
    own_scores(actor, folder)
    return {"minutes": task.minutes, **held_out.drawn(actor.experiment(OWN))}


def once(folder: Path, train: Callable[[], object]) -> None:
    """Train a network, unless it was trained to the end before."""
    done = folder / "trained"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        train()
        done.touch()


MEASURES: dict[str, Callable[[Task, Actor, HeldOut], dict[str, float]]] = {
    "warp": measure_warp,
    "hybrid": measure_hybrid,
    "neural": measure_neural,
}


def report(data: list[dict[str, Any]]) -> str:
    """A table, one clip after the other."""
    headings = ["clip", "renderer", "trained, min", "frames", "PSNR, dB", "mouth PSNR, dB", "SSIM"]
    headings += ["GMSD", "sharpness", "flicker"]
    rows = [
        [row["clip"], row["renderer"], row["minutes"], row["frames"]]
        + [round(row[name], 4 if name in ("ssim", "gmsd") else 2) for name in _COLUMNS]
        for row in data
    ]
    return f"{table.machine()}\n\n{table.markdown(headings, rows)}"


if __name__ == "__main__":
    main()
