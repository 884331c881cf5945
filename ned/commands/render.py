"""Render: an experiment's aligned faces drawn by the actor's neural renderer; or a test of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ned.core.device import Precision
from ned.core.errors import InputError, quoted
from ned.core.files.actor import Actor
from ned.core.files.checkpoint import require_torch
from ned.core.files.frame_files import FileWriter
from ned.core.files.records import Record, content_hash, fingerprint, locked, sweep
from ned.core.film.image_files import read_image
from ned.core.progress import SILENT, Progress
from ned.options.render import RenderOptions, device_of
from renderer.experiment_conditioning import draw_inputs, face_model_of

if TYPE_CHECKING:
    from renderer.neural.dataset import Faces
    from renderer.neural.inference import NeuralRenderer

OWN = "self"  # the experiment that a renderer's test is drawn into

_VERSION = 1  # counts up when the same input gives other pictures
_KIND = "faces_aligned"


def render(options: RenderOptions, progress: Progress = SILENT) -> list[str]:
    """Draw faces; returns lines.

    Raises:
        InputError: The folder, the experiment or the epoch cannot be used.
        AssetError: The checkpoint is of another layout. OutputError: A file cannot be written.
    """
    require_torch("rendering")
    actor = Actor.open(options.celeb)
    if options.own:
        return _render_own(actor, options, progress)
    assert options.exp_name is not None
    experiment = actor.experiment(options.exp_name)
    return render_faces(
        actor,
        experiment,
        options.checkpoints_dir,
        progress,
        options.which_epoch,
        device_of(options.gpu_ids),
        options.precision,
    )


def render_faces(
    actor: Actor,
    experiment: Actor,
    checkpoints_dir: Path,
    progress: Progress = SILENT,
    which_epoch: str | None = None,
    device: str = "auto",
    precision: Precision = "auto",
) -> list[str]:
    """Fill an experiment's faces_aligned, one for every frame; returns lines.

    What it is drawn from is drawn first where it is missing. A killed run goes on where it was; it
    then takes its last two pictures from their files, which are rounded to bytes.

    Raises:
        InputError: There is no such checkpoint or experiment, or it belongs to another face model.
        AssetError: The checkpoint is of another layout. OutputError: A file cannot be written.
    """
    require_torch("rendering")
    from renderer.neural.checkpoints import find_generator, picture_size
    from renderer.neural.dataset import Faces

    path = find_generator(checkpoints_dir, which_epoch)
    if not experiment.folder.is_dir():
        raise InputError(
            f"{quoted(experiment.folder)} does not exist; make the experiment with "
            "manipulator/test.py"
        )
    _check_model(actor, checkpoints_dir)
    with locked(experiment.lock_file, experiment.folder):
        draw_inputs(actor, experiment, progress)
        faces = Faces.open(actor, experiment, picture_size(checkpoints_dir), filmed=False)
        _draw(path, faces, experiment, faces.frames, device, precision, progress)
    count = len(faces.frames)
    return [f"{experiment.folder_of(_KIND)}: {count} faces drawn by {path.name}"]


def _draw(
    path: Path,
    faces: Faces,
    experiment: Actor,
    frames: list[int],
    device: str,
    precision: Precision,
    progress: Progress,
) -> None:
    """Draw what is missing of some frames, or everything if it was made of something else."""
    from renderer.neural.inference import NeuralRenderer

    record = Record.load(experiment.folder / ".ned" / "render.json")
    made = _hash(path, faces, precision)
    if record.made.get(_KIND) != made:
        for file in experiment.frames(_KIND).values():
            file.unlink()
        record.begin({_KIND: made})
    sweep(experiment.folder_of(_KIND))
    present = experiment.frames(_KIND)
    parts = []
    for run in faces.runs(frames):
        missing = [k for k, frame in enumerate(run) if frame not in present]
        if missing:
            parts.append((run, missing[0]))
    if parts:
        renderer = NeuralRenderer.load(path, device, precision)
        total = sum(len(run) - first for run, first in parts)
        with progress.stage("rendering", total) as step, FileWriter() as writer:
            for run, first in parts:
                for frame, face in _run(renderer, faces, experiment, run, first):
                    writer.png(experiment.frame_file(_KIND, frame), face)
                    step(1)
    record.finish({_KIND})


def _run(
    renderer: NeuralRenderer, faces: Faces, experiment: Actor, run: list[int], first: int
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Frames from run[first] on and their faces."""
    before: list[NDArray[np.uint8]] = []
    start, lead = 0, 2
    if first >= 2:
        start, lead = first - 2, 0
        before = [read_image(experiment.frame_file(_KIND, frame)) for frame in run[start:first]]
    else:
        first = 0
    seen = (faces.conditioning(frame) for frame in run[start:])
    for frame, face in zip(run[first:], renderer.render(seen, lead, before), strict=True):
        yield frame, _resized(face, faces.side)


def _resized(face: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A drawn face as large as the actor's files."""
    if len(face) == side:
        return face
    import cv2

    kernel = cv2.INTER_CUBIC if len(face) < side else cv2.INTER_AREA
    return cv2.resize(face, (side, side), interpolation=kernel)  # type: ignore[return-value]


def _render_own(actor: Actor, options: RenderOptions, progress: Progress) -> list[str]:
    """Make the frames again that were not trained on, and measure."""
    from renderer.hybrid.renderer import NETWORK

    if (options.checkpoints_dir / NETWORK).is_file():
        return _reenact_own(actor, options)
    frames, scores, path = own_scores(
        actor,
        options.checkpoints_dir,
        progress,
        options.which_epoch,
        device_of(options.gpu_ids),
        options.precision,
    )
    drawn = actor.experiment(OWN).folder_of(_KIND)
    first = f"{drawn}: {len(frames)} held-out frames drawn by {path.name}"
    return [first, _said(scores)]


def _reenact_own(actor: Actor, options: RenderOptions) -> list[str]:
    """The same for a hybrid, which needs filmed pixels: those of other held-out frames."""
    from ned.evaluation.held_out import HeldOut
    from renderer.hybrid.renderer import HybridRenderer

    folder = options.checkpoints_dir
    renderer = HybridRenderer.load(folder, device_of(options.gpu_ids), options.precision)
    share = None  # of another take nothing was trained on, as far as is known
    learnt = [Path(clip) for clip in renderer.record.get("clips", [])]
    hashes = {content_hash(clip) for clip in learnt if clip.is_file()}
    if hashes & {content_hash(video) for video in actor.videos}:
        share = float(renderer.record.get("held_out", 0))
        if share == 0:
            raise InputError(_all_seen(folder, actor))
    held_out = HeldOut.open(actor, share, renderer.size)
    return [
        f"{folder}: {len(held_out.number)} held-out frames, each made of another one",
        _said(held_out.moved(renderer)),
        f"by the warp alone: {_said(held_out.moved())}",
    ]


def _said(scores: dict[str, float]) -> str:
    return (
        f"PSNR {scores['psnr']:.2f} dB inside the face, {scores['mouth_psnr']:.2f} dB around the "
        f"mouth; SSIM {scores['ssim']:.4f}; GMSD {scores['gmsd']:.4f}; sharpness "
        f"{scores['sharpness']:.2f} of the filmed; flicker {scores['flicker']:.2f} grey levels"
    )


def _all_seen(folder: Path, actor: Actor) -> str:
    return (
        f"{quoted(folder)} was trained on every frame of {quoted(actor.folder)}; train with "
        "--held-out 0.25, or give footage that was not trained on"
    )


def own_scores(
    actor: Actor,
    folder: Path,
    progress: Progress = SILENT,
    which_epoch: str | None = None,
    device: str = "auto",
    precision: Precision = "auto",
) -> tuple[list[int], dict[str, float], Path]:
    """The held-out frames, drawn; their `ReconstructionError.scores`; what drew them.

    Raises:
        InputError: The folder cannot be used, or was trained on every frame.
        AssetError: The checkpoint is of another layout. OutputError: A file cannot be written.
    """
    from ned.evaluation.reconstruction_error import ReconstructionError
    from renderer.neural.checkpoints import find_generator, picture_size
    from renderer.neural.dataset import Faces

    path = find_generator(folder, which_epoch)
    _check_model(actor, folder)
    faces = Faces.open(actor, size=picture_size(folder))
    frames = _held_out(actor, folder, faces)
    experiment = Actor(actor.folder / OWN)
    with locked(experiment.lock_file, experiment.folder):
        _draw(path, faces, experiment, frames, device, precision, progress)
        error, last = ReconstructionError(), None
        whole = dataclasses.replace(faces, size=faces.side)  # compared as large as it was filmed
        for frame in frames:
            drawn = read_image(experiment.frame_file(_KIND, frame))
            filmed = np.moveaxis(whole.face(frame), 0, 2)
            mask = whole.conditioning(frame)[-1] > 0
            follows = last == frame - 1 and frame not in faces.starts
            error.add(drawn, filmed, mask, whole.mouth(frame), follows)
            last = frame
    return frames, error.scores(), path


def _held_out(actor: Actor, folder: Path, faces: Faces) -> list[int]:
    """The frames of the actor that the renderer has not seen in training."""
    from renderer.neural.checkpoints import read_record

    record = read_record(folder)
    if record.get("actor") != str(actor.folder.resolve()):
        return faces.frames  # another take: nothing of it was trained on, as far as is known
    frames = [frame for frame in faces.frames if frame in set(record.get("held_out", []))]
    if not frames:
        raise InputError(_all_seen(folder, actor))
    return frames


def _check_model(actor: Actor, folder: Path) -> None:
    """Raise InputError where the renderer has learnt pictures of another face model."""
    from renderer.neural.checkpoints import read_record

    learnt, own = read_record(folder).get("face_model"), face_model_of(actor)
    if learnt is not None and own is not None and learnt != own:
        raise InputError(
            f"the renderer in {quoted(folder)} was trained with the {learnt} face, "
            f"{quoted(actor.folder)} is preprocessed with {own}; preprocess it with the same"
        )


def _hash(path: Path, faces: Faces, precision: Precision) -> str:
    def states(files: object) -> list[object]:
        assert isinstance(files, dict)
        found = ((frame, file.stat()) for frame, file in files.items())
        return [(frame, one.st_size, one.st_mtime_ns) for frame, one in found]

    return fingerprint(
        version=_VERSION,
        network=content_hash(path),
        size=faces.size,
        precision=precision,
        starts=sorted(faces.starts),
        files=[states(files) for files in (faces.masks, faces.nmfcs, faces.shapes, faces.eyes)],
    )
