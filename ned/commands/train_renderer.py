"""Train renderer: the neural renderer of one actor, learnt from the actor's folder."""

from __future__ import annotations

import dataclasses
import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING

from ned.core.device import find_device, is_short_fast
from ned.core.files.actor import Actor
from ned.core.files.assets import find_asset, require_asset
from ned.core.files.checkpoint import require_torch
from ned.core.files.partial import output_errors
from ned.core.files.records import locked
from ned.core.processes import ALONE, launch, processes_of
from ned.core.progress import SILENT, Progress
from ned.options.render import TrainRendererOptions, devices_of
from renderer.experiment_conditioning import face_model_of

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)


def train_renderer(options: TrainRendererOptions, progress: Progress = SILENT) -> list[str]:
    """Train, or go on training; returns lines.

    Raises:
        InputError: The folder is not preprocessed, holds too few frames, or a value does not fit.
        AssetError: Networks to begin with are missing or of another layout.
        OutputError: A checkpoint cannot be written; the one before is kept.
    """
    require_torch("training the neural renderer")
    from renderer.neural import checkpoints
    from renderer.neural.dataset import Faces
    from renderer.neural.training import RendererTraining

    settings, folder = options.settings, options.checkpoints_dir
    actor = Actor.open(options.celeb)
    faces = Faces.open(actor, size=settings.size)
    names = devices_of(options.gpu_ids)
    devices = [find_device(name) for name in names]
    processes, device = ALONE, devices[0]
    if len(devices) > 1:
        numbers = [one.index or 0 for one in devices]
        fabric = launch(device.type, len(devices) if device.type == "cpu" else numbers)
        processes, device = processes_of(fabric), fabric.device
    first = processes.first
    auto = options.precision == "auto" and is_short_fast(device)
    short = auto or options.precision == "bfloat16"
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock", folder) if first else nullcontext():
        training = RendererTraining(
            faces, folder, settings, device, short, _perceptual(options), processes
        )
        resumed = not options.restart and training.resume()
        if options.load_pretrain is not None and not resumed:
            name = checkpoints.load_networks(
                options.load_pretrain, options.which_epoch, training.trainer
            )
            log.info("beginning with epoch %s of %s", name, options.load_pretrain)
        if first:
            checkpoints.write_record(
                folder,
                {
                    "settings": dataclasses.asdict(settings),
                    "actor": str(actor.folder.resolve()),
                    "face_model": face_model_of(actor),
                    "held_out": training.held_out,
                    "precision": "bfloat16" if short else "float32",
                },
            )
        training.begin()
        began = training.position.step
        ended = training.run(options.minutes, progress if first else SILENT)
    if not first:
        return []
    position = training.position
    lines = [
        f"{folder}: {position.step} steps ({position.step - began} of them now), "
        f"{min(position.epoch, settings.epochs)} of {settings.epochs} epochs; {ended}"
    ]
    if training.held_out:
        lines.append(f"{folder / 'web' / 'index.html'} shows held-out frames")
    return lines


def _perceptual(options: TrainRendererOptions) -> nn.Module | None:
    """The distance of pictures that was asked for; raises AssetError."""
    from renderer.neural.losses import PerceptualLoss, StructureLoss

    kind = options.perceptual
    if kind == "auto":
        kind = "vgg" if find_asset("vgg19") is not None else "structure"
    if kind == "vgg":
        return PerceptualLoss.load(require_asset("vgg19"))
    return StructureLoss() if kind == "structure" else None
