"""Train hybrid: an actor's footage in, a folder out that `ned direct --actor-model` draws with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deca.fitting import fit
from deca.rig import load_rig
from ned.commands.direct import track_actor
from ned.core.device import find_device, is_short_fast
from ned.core.errors import InputError, quoted
from ned.core.face.performance import Performance
from ned.core.files.partial import output_errors
from ned.core.files.records import locked
from ned.core.film.clip import Clip
from ned.core.progress import SILENT, Progress
from ned.core.threads import single_threaded_opencv
from ned.options.render import device_of
from ned.options.train_hybrid import TrainHybridOptions
from preprocessing.identity import Identity, identity_in

if TYPE_CHECKING:
    from renderer.hybrid.footage import Footage
    from renderer.hybrid.training import HybridTraining

log = logging.getLogger(__name__)


def train_hybrid(options: TrainHybridOptions, progress: Progress = SILENT) -> list[str]:
    """Train, or go on training; returns lines.

    Raises:
        InputError: There is too little footage, or a state that does not fit.
        NoFaceError: A clip shows no face.
        OutputError: The model cannot be written; the one before is kept.
    """
    device = find_device(device_of(options.gpu_ids))
    from renderer.hybrid.network import HybridShape
    from renderer.hybrid.training import HybridSettings, HybridTraining

    folder = options.output
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with single_threaded_opencv(), locked(folder / ".lock", folder):
        clips = clips_of(options.clips)
        identity = Identity()
        footage = footage_of(clips, options.size, options.actor, progress, identity)
        auto = options.precision == "auto" and is_short_fast(device)
        short = auto or options.precision == "bfloat16"
        settings = HybridSettings(
            HybridShape(options.size), held_out=options.held_out, seed=options.seed
        )
        record = {
            "face_model": "rig",
            "clips": [str(path.resolve()) for path in clips],
            "actor": options.actor,
            "identity": identity.numbers(),
            "held_out": options.held_out,
            "seed": options.seed,
            "precision": "bfloat16" if short else "float32",
        }
        training = HybridTraining(footage, load_rig(), folder, settings, device, short, record)
        if not options.restart:
            training.resume()
        began = training.step
        ended = training.run(options.minutes, options.steps, progress)
    lines = [
        f"{folder}: {training.step} steps ({training.step - began} of them now) in "
        f"{training.seconds / 60:.1f} minutes on {len(training.footage)} frames; {ended}"
    ]
    if len(training.held_out) >= 2:
        lines += measured(training)
        lines.append(f"{folder / 'web' / 'index.html'} shows held-out frames")
    return lines


def clips_of(paths: tuple[Path, ...]) -> list[Path]:
    """The clips that are meant: those given, and all in the folder 'videos' of folders given.

    Raises:
        InputError: A folder has none.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = path / "videos"
        held = sorted(file for file in inside.glob("*") if file.suffix.lower() != ".txt")
        if not held:
            raise InputError(f"{quoted(inside)} holds no videos; give clips, or an actor's folder")
        found += held
    return found


def footage_of(
    clips: list[Path],
    size: int,
    actor: int = 0,
    progress: Progress = SILENT,
    identity: Identity | None = None,
) -> Footage:
    """The faces of an actor in some clips, tracked and cut out.

    Args:
        identity: told whose face it is, if given.

    Raises:
        InputError: A clip cannot be read, or there is too little. NoFaceError: One has no face.
    """
    from renderer.hybrid.footage import Footage

    rig = load_rig()
    takes: list[tuple[Performance, Iterator[tuple[int, NDArray[np.uint8]]]]] = []
    for path in clips:
        clip = Clip.open(path)
        performance = fit(track_actor(clip, actor, progress), rig, progress=progress)
        if identity is not None:
            identity_in(clip, performance.track, identity)
        takes.append((performance, _pictures(clip, len(performance), progress)))
    return Footage.of(takes, rig, size)


def measured(training: HybridTraining) -> list[str]:
    """What the network gains over the warp on held-out frames, for people."""
    from ned.evaluation.reconstruction_error import ReconstructionError

    warped, drawn = ReconstructionError(), ReconstructionError()
    for one in training.reenacted(np.arange(len(training.held_out))):
        mouth = one.mouth.astype(np.int64)
        warped.add(one.warped, one.filmed, one.mask, mouth, False)
        drawn.add(one.drawn, one.filmed, one.mask, mouth, False)
    before, after = warped.scores(), drawn.scores()
    return [
        f"{len(training.held_out)} held-out frames, each drawn from another one: PSNR inside the "
        f"face {after['psnr']:.2f} dB (warp {before['psnr']:.2f}), around the mouth "
        f"{after['mouth_psnr']:.2f} dB ({before['mouth_psnr']:.2f}); SSIM {after['ssim']:.4f} "
        f"({before['ssim']:.4f}); sharpness {after['sharpness']:.2f} of the filmed "
        f"({before['sharpness']:.2f})"
    ]


def _pictures(
    clip: Clip, count: int, progress: Progress
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    with progress.stage("cutting", count) as step:
        for frame in clip.frames():
            yield frame.index, frame.rgb()
            step(1)
