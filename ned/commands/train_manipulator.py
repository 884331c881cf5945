"""Train-manipulator: a labelled data set in, checkpoints of the learned manipulator out."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ned import __version__
from ned.core.device import find_device
from ned.core.errors import InputError, quoted
from ned.core.files.checkpoint import require_torch
from ned.core.files.records import locked
from ned.core.progress import SILENT, Progress
from ned.core.script.emotions import ALIASES, NED_LABELS, SYNTHETIC_LABELS
from ned.options.manipulate import device_of
from ned.options.train_manipulator import TrainManipulatorOptions

if TYPE_CHECKING:
    from manipulator.checkpoints import Manipulator
    from manipulator.data.sources import LabelledData
    from manipulator.data.windows import LabelledSequence, Windows
    from manipulator.networks import NetworkSettings
    from manipulator.training import Trainer, TrainingSettings

log = logging.getLogger(__name__)

_LOGS, _PICTURES = "logs", "pictures"
_QUIET = 0.05  # share of a unit's usual movement below which a mouth counts as still


@dataclass(frozen=True)
class Material:
    """What is learned from.

    Attributes:
        face_model, unit_names: of all sequences. training, validation: of different actors.
        clips: validation sequences, to draw; training ones where there are none.
    """

    face_model: str
    unit_names: tuple[str, ...]
    training: Windows
    validation: Windows
    clips: Sequence[LabelledSequence]


def train_manipulator(options: TrainManipulatorOptions, progress: Progress = SILENT) -> list[str]:
    """Train, or go on training; returns lines.

    Raises:
        InputError: The data cannot be used, or the folder holds another training.
        AssetError: There is no checkpoint to finetune. OutputError: A file cannot be written.
    """
    require_torch("training")
    from manipulator.training import Trainer
    from ned.core.processes import launch

    emotions = _emotions(options)
    material = gather(options, emotions, progress)
    manipulator = make_manipulator(options, material, emotions)
    device = find_device(device_of(options.device, options.gpu_ids))
    alone = options.devices == 1 and device.index is not None
    devices = [device.index] if alone else options.devices
    fabric = launch(device.type, devices, options.precision)
    mean, spread = manipulator.mean, manipulator.spread
    trainer = Trainer(
        manipulator.networks,
        material.training.normalised(mean, spread),
        material.validation.normalised(mean, spread),
        _settings(options, material),
        fabric,
    )
    if not trainer.processes.first:
        _run(options, trainer, manipulator, material, SILENT)
        return []
    folder = options.checkpoints_dir
    with locked(folder / "lock", folder):
        return _run(options, trainer, manipulator, material, progress)


def gather(
    options: TrainManipulatorOptions, emotions: Sequence[str], progress: Progress = SILENT
) -> Material:
    """Read the data and give every actor to training or validation; raises InputError."""
    from manipulator.data.windows import cut_windows, split_actors

    data = _read(options, emotions, progress)
    sequences = data.sequences
    if not sequences:
        raise InputError(
            f"{quoted(options.train_root or '')} holds no clip with one of the emotions "
            f"{', '.join(emotions)}; there is nothing to learn from"
        )
    split = split_actors(sequences, options.selected_actors, options.selected_actors_val)
    if not split.validation:
        log.warning("all data is of one actor, there is no validation")
    training = cut_windows(split.training, options.seq_len, options.hop_len)
    missing = [name for k, name in enumerate(emotions) if k not in training.labels]
    if missing and len(training):
        log.warning("no training clip shows %s", ", ".join(missing))
    return Material(
        data.face_model,
        data.unit_names,
        training,
        cut_windows(split.validation, options.seq_len, options.hop_len),
        split.validation or split.training,
    )


def make_manipulator(
    options: TrainManipulatorOptions, material: Material, emotions: Sequence[str]
) -> Manipulator:
    """New networks for the data, or those to finetune."""
    from manipulator.checkpoints import Manipulator
    from manipulator.data.windows import normalisation
    from manipulator.networks import Networks, is_as_given

    settings = _network_settings(options, material, emotions)
    mean = np.zeros(settings.values, np.float32)
    spread = np.ones(settings.values, np.float32)
    as_given = is_as_given(material.face_model)
    names = () if as_given else material.unit_names
    if not as_given and len(material.training):
        mean, spread = normalisation(material.training)
    record = {
        "version": __version__,
        "options": dataclasses.asdict(options),
        "windows": len(material.training),
        "actors": material.training.actors,
        "validation_actors": material.validation.actors,
    }
    networks = Networks(settings).initialise(options.seed)
    manipulator = Manipulator(networks, material.face_model, names, mean, spread, record)
    return _finetuned(options, manipulator) if options.finetune else manipulator


def _run(
    options: TrainManipulatorOptions,
    trainer: Trainer,
    manipulator: Manipulator,
    material: Material,
    progress: Progress,
) -> list[str]:
    from manipulator.checkpoints import checkpoint_name, save_manipulator

    folder = options.checkpoints_dir
    state = folder / f"training_state{'_finetuned' * options.finetune}.pt"
    main = trainer.processes.first
    if state.is_file() and not options.restart:
        trainer.load_state(state)
        if trainer.done.epoch > options.niter:
            return [f"{folder}: all {options.niter} epochs are done"]
        log.info("going on with epoch %d, step %d", trainer.done.epoch, trainer.done.step)
    writer = _writer(options, trainer) if main else None
    lines: list[str] = []

    def on_step(step: int, losses: Mapping[str, float]) -> None:
        if writer is not None and (step % 10 == 0 or step == 1):
            for name, value in losses.items():
                writer.add_scalar(f"train/{name}", value, step)

    def on_epoch(epoch: int, losses: Mapping[str, float]) -> None:
        if writer is None:
            return
        step = epoch * trainer.steps
        for name, value in losses.items():
            writer.add_scalar(f"validation/{name}", value, step)
        path = folder / checkpoint_name(epoch, options.finetune)
        manipulator.record = {**manipulator.record, "epoch": epoch, "validation": dict(losses)}
        save_manipulator(manipulator, path)
        told = "".join(f", {n[6:]} {losses[n]:.3f}" for n in losses if n.startswith("G_lat_"))
        lines.append(f"{path}: epoch {epoch}{told}")
        if options.pictures:
            _draw(options, manipulator, material, epoch, writer, step)
        writer.flush()

    try:
        trainer.run(state, options.save_every, on_step, on_epoch, progress)
    finally:
        if writer is not None:
            writer.close()
    return lines


def _draw(
    options: TrainManipulatorOptions,
    manipulator: Manipulator,
    material: Material,
    epoch: int,
    writer: Any,
    step: int,
) -> None:
    """Curves and faces of one validation clip with every emotion."""
    from manipulator.training_pictures import draw_emotions

    name = f"epoch_{epoch:02d}{'_finetuned' * options.finetune}"
    folder = options.checkpoints_dir / _PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    clip = max(material.clips, key=lambda one: min(len(one.values), 100))
    manipulator.networks.eval()
    for what, image in draw_emotions(manipulator, clip.values, folder / name).items():
        writer.add_image(what, image, step, dataformats="HWC")
    manipulator.networks.train()


def _writer(options: TrainManipulatorOptions, trainer: Trainer) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise InputError("training needs tensorboardX; pip install 'ned[neural]'") from error
    folder = options.checkpoints_dir / _LOGS
    begun = (trainer.done.epoch - 1) * trainer.steps + trainer.done.step
    return SummaryWriter(str(folder), purge_step=begun + 1 if begun else None)


def _emotions(options: TrainManipulatorOptions) -> tuple[str, ...]:
    if options.emotions:
        words = (word.lower() for word in options.emotions)
        return tuple(dict.fromkeys(ALIASES.get(word, word) for word in words))
    return SYNTHETIC_LABELS if options.database == "synthetic" else NED_LABELS


def _read(
    options: TrainManipulatorOptions, emotions: Sequence[str], progress: Progress
) -> LabelledData:
    from manipulator.data import sources

    root, labels = options.train_root, options.annotations_path
    if options.database == "synthetic":
        return _made_up(options, emotions, progress)
    assert root is not None
    if options.database == "mead":
        actors = (*options.selected_actors, *options.selected_actors_val)
        both = bool(options.selected_actors and options.selected_actors_val)
        return sources.read_mead(root, emotions, actors if both else ())
    if options.database == "aff-wild2":
        assert labels is not None
        return sources.read_aff_wild(root, labels, emotions)
    told = options.names
    if told == "csv":
        assert labels is not None
        return sources.read_folder(root, labels, emotions)
    return sources.read_folder(root, told, emotions)


def _made_up(
    options: TrainManipulatorOptions, emotions: Sequence[str], progress: Progress
) -> LabelledData:
    from deca.rig import load_rig
    from manipulator.data.sources import LabelledData
    from manipulator.data.synthetic import make_performances
    from manipulator.data.windows import LabelledSequence

    with progress.stage("making up", options.count) as step:
        rig = load_rig()
        made = make_performances(options.count, rig, options.seed)
        step(options.count)
    known = {performance.emotion for performance in made}
    for name in emotions:
        if name not in known and options.emotions:
            raise InputError(f"there is no made-up {name!r}; there is {', '.join(sorted(known))}")
    sequences = [
        LabelledSequence.of(
            one.units, emotions.index(one.emotion), f"{one.actor:03d}", f"take {number}"
        )
        for number, one in enumerate(made)
        if one.emotion in emotions
    ]
    return LabelledData("rig", rig.names, sequences)


def _network_settings(
    options: TrainManipulatorOptions, material: Material, emotions: Sequence[str]
) -> NetworkSettings:
    from manipulator.networks import PRESETS, for_values, is_as_given

    size = options.size
    if size == "auto":
        size = "ned" if is_as_given(material.face_model) else "rig"
    values = material.training.values.shape[1]
    return dataclasses.replace(
        for_values(PRESETS[size], values, emotions),
        residual=False,  # the game between networks ends at "no change" if that is easy to say
        style=options.style_dim,
        latent=options.latent_dim,
        window=options.seq_len,
    )


def _settings(options: TrainManipulatorOptions, material: Material) -> TrainingSettings:
    from manipulator.losses import LossSettings
    from manipulator.networks import is_as_given
    from manipulator.training import TrainingSettings

    names = material.unit_names
    columns = tuple(k for k, name in enumerate(names) if name.startswith("jaw_open"))
    floor = 0.0 if is_as_given(material.face_model) else _QUIET
    losses = LossSettings(
        options.lambda_sty, options.lambda_cyc, options.lambda_mouth, columns, floor
    )
    return TrainingSettings(
        epochs=options.niter,
        decay=options.niter_decay,
        batch=options.batch_size,
        rate=options.lr,
        betas=(options.beta1, options.beta2),
        seed=options.seed,
        losses=losses,
    )


def _finetuned(options: TrainManipulatorOptions, new: Manipulator) -> Manipulator:
    """The manipulator to start from; its normalisation goes on with its weights."""
    from manipulator.checkpoints import (
        LATEST,
        find_checkpoint,
        list_checkpoints,
        load_manipulator,
    )

    wanted, folder = options.finetune_epoch, options.checkpoints_dir
    plain = [one for one in list_checkpoints(folder) if not one.finetuned]
    if wanted == LATEST and plain:
        path = plain[-1].path
    else:
        path = next((one.path for one in plain if str(one.epoch) == wanted.lstrip("0")), None)
    if path is None:
        find_checkpoint(folder)  # complains if there is none at all
        there = ", ".join(str(one.epoch) for one in plain) or "none that is not finetuned"
        raise InputError(
            f"{quoted(folder)} has no epoch {wanted} to finetune; --finetune_epoch can be {there}"
        )
    old = load_manipulator(path)
    if old.face_model != new.face_model or old.unit_names != new.unit_names:
        raise InputError(f"{quoted(path)} is for another face than the data")
    if old.settings != new.settings:
        raise InputError(
            f"{quoted(path)} has other emotions or sizes than asked for; give the same --emotions, "
            "--style_dim, --latent_dim, --seq_len and --size"
        )
    new.networks.load_state_dict(old.networks.state_dict())
    mean: NDArray[np.float32] = old.mean
    new.mean, new.spread = mean, old.spread
    new.record = {**new.record, "finetuned_from": path.name}
    return new
