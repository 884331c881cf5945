"""Manipulate: an actor's face parameters in, an experiment's out, by the learned manipulator."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ned import __version__
from ned.core.device import find_device
from ned.core.errors import AssetError, InputError, NoFaceError, quoted
from ned.core.face.codes import Codes, load_clips
from ned.core.face.flame_codes import JAW_OPENING, FlameCodes
from ned.core.face.performance import Performance
from ned.core.files.actor import Actor
from ned.core.files.assets import require_asset
from ned.core.files.records import content_hash, locked, write_atomically
from ned.core.progress import SILENT, Progress
from ned.core.script.notation import INTENSITY_LIMIT, Place, parse_mixture
from ned.core.script.timeline import Timeline
from ned.core.script.timeline_file import load_timeline
from ned.options.manipulate import ManipulateOptions, device_of

if TYPE_CHECKING:
    from torch import Tensor

    from manipulator.checkpoints import Manipulator
    from manipulator.translation import Wishes

log = logging.getLogger(__name__)

Wishing = Callable[[NDArray[np.float64]], "Wishes"]  # of frames at (T,) seconds
Translate = Callable[[Path, Codes], Codes]
Freezing = Callable[[NDArray[np.float32], Codes], NDArray[np.float32]]

_FOLDER = Path("manipulator_checkpoints")
_SHIPPED = "manipulator_rig.safetensors"


def manipulate(options: ManipulateOptions, progress: Progress = SILENT) -> list[str]:
    """Translate every clip of an actor; returns lines.

    Raises:
        InputError: The folder, an emotion or a value cannot be used, or the checkpoint is for
            another face. AssetError: There is no checkpoint, or a file that --freeze needs.
        OutputError: A result cannot be written.
    """
    actor = Actor.open(options.celeb)
    experiment = actor.experiment(options.exp_name)
    clips = load_clips(actor)
    translate, record = (_by_networks if options.emotions is None else _by_rules)(options, clips)
    with locked(experiment.lock_file, experiment.folder):
        lines = []
        with progress.stage("translating", sum(len(codes) for codes in clips.values())) as step:
            for path, codes in clips.items():
                changed = translate(path, codes)
                target = experiment.codes_folder / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                changed.save(target)
                lines.append(f"{target}: {len(codes)} frames")
                step(len(codes))
        write_atomically(experiment.folder / ".ned" / "manipulation.json", record.encode())
    return lines


def _by_networks(options: ManipulateOptions, clips: Mapping[Path, Codes]) -> tuple[Translate, str]:
    """What translates each clip with the trained manipulator, and the record of that."""
    manipulator = open_manipulator(options.checkpoints_dir, options.which_epoch)
    for path, codes in clips.items():
        check_fit(manipulator, path, codes)
    wishing = _wishing(options, manipulator)
    freeze = _freezing(options, manipulator)
    _move(manipulator, device_of(options.device, options.gpu_ids))

    def translate(_: Path, codes: Codes) -> Codes:
        return _translated(codes, wishing, manipulator, freeze, options)

    return translate, _record(options, manipulator.path, manipulator.settings.emotions)


def _by_rules(options: ManipulateOptions, clips: Mapping[Path, Codes]) -> tuple[Translate, str]:
    """The same with the rules of `ned direct`, which know the emotions of a user's file."""
    from deca.rig import load_rig
    from manipulator.directing import Direction, direct_performance
    from manipulator.prototypes import load_prototypes
    from manipulator.speech_lock import SpeechLock

    rig = load_rig()
    prototypes = load_prototypes(options.emotions, rig)
    jaw, known = SpeechLock(rig).jaw & (options.freeze == "jaw"), tuple(prototypes)
    timelines: dict[Path, Timeline] = {}
    for path, codes in clips.items():
        if not isinstance(codes, Performance):
            raise InputError(
                f"{quoted(path)} holds FLAME codes, but the emotions of {quoted(options.emotions)} "
                "are made of the rig's units; preprocess with --reconstructor rig"
            )
        if options.timeline is not None:
            timeline = load_timeline(options.timeline, known)
        else:
            seconds = float(codes.times[-1] - codes.times[0]) if len(codes) else 0.0
            timeline = Timeline.split(options.trg_emotions, seconds or 1.0, known)
        timelines[path] = timeline.scaled(options.intensity)

    def translate(path: Path, codes: Codes) -> Codes:
        assert isinstance(codes, Performance)
        lock = 1.0 if options.freeze in ("auto", "mouth") else 0.0
        direction = Direction(
            timelines[path], speech_lock=lock, seed=options.seed, prototypes=prototypes
        )
        change = direct_performance(codes, direction, rig).change
        return dataclasses.replace(codes, directed=codes.units + np.where(jaw, 0, change))

    return translate, _record(options, None, known)


def open_manipulator(folder: Path | None, epoch: str = "latest") -> Manipulator:
    """The trained manipulator in a folder; the one that ships for the rig if there is no folder.

    Raises:
        AssetError: There is none. InputError: The epoch does not exist, or the file is damaged.
    """
    from manipulator.checkpoints import find_checkpoint, load_manipulator

    if folder is None and not _FOLDER.is_dir():
        shipped = resources.files("configs").joinpath(_SHIPPED)
        if not shipped.is_file():
            raise AssetError(
                f"no checkpoint: there is no folder '{_FOLDER}'; train a manipulator with `ned "
                "train-manipulator`, or name the folder of one with --checkpoints_dir"
            )
        with resources.as_file(shipped) as path:
            return load_manipulator(path)
    manipulator = load_manipulator(find_checkpoint(folder or _FOLDER, epoch))
    log.info("manipulator %s", manipulator.path)
    return manipulator


def check_fit(manipulator: Manipulator, path: Path, codes: Codes) -> None:
    """Raise InputError unless the manipulator is made for such face parameters."""
    found = "rig" if isinstance(codes, Performance) else "flame"
    names = {"rig": "the rig's units", "flame": "FLAME codes"}
    if found != manipulator.face_model:
        raise InputError(
            f"{quoted(path)} holds {names[found]}, but the manipulator "
            f"{quoted(manipulator.path or '')} is for {names[manipulator.face_model]}; preprocess "
            "with the other --reconstructor, or give another --checkpoints_dir"
        )
    if isinstance(codes, Performance) and codes.unit_names != manipulator.unit_names:
        raise InputError(
            f"{quoted(path)} and the manipulator {quoted(manipulator.path or '')} are of different "
            "versions of the rig; preprocess again, or train again"
        )


def values_of(codes: Codes) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(T, V) what a manipulator may change, and (T,) frames that show a face."""
    if isinstance(codes, Performance):
        return codes.units, codes.track.present
    return codes.manipulable, codes.present


def _translated(
    codes: Codes,
    wishing: Wishing,
    manipulator: Manipulator,
    freeze: Freezing,
    options: ManipulateOptions,
) -> Codes:
    values, present = values_of(codes)
    result = values
    if present.any():
        result = _asked(codes, wishing, manipulator, options)
    if not np.array_equal(result, values):
        change = freeze(result - values, codes)
        whole = (change == result - values).all(1)[:, None]  # then without the detour's rounding
        result = np.where(whole, result, values + change).astype(np.float32)
    if isinstance(codes, Performance):
        return dataclasses.replace(codes, directed=result)
    return codes.with_manipulated(result)


def _asked(
    codes: Codes, wishing: Wishing, manipulator: Manipulator, options: ManipulateOptions
) -> NDArray[np.float32]:
    """(T, V) what the networks ask for.

    Networks for the rig know one frame rate: performances of another are brought to it, and the
    change is brought back.
    """
    from manipulator.translation import TranslationSettings, bridge, translate_values

    settings = TranslationSettings(options.edges, options.precision)
    values, present = values_of(codes)
    if not isinstance(codes, Performance):
        times = np.arange(len(codes)) / options.frame_rate
        return translate_values(values, wishing(times), manipulator, settings, present)

    from manipulator.learned import even_rate

    even, times = even_rate(bridge(values, present), codes.times)
    if len(times) == len(codes) and np.array_equal(times, codes.times):
        return translate_values(values, wishing(times), manipulator, settings, present)
    change = translate_values(even, wishing(times), manipulator, settings) - even
    back = np.stack([np.interp(codes.times, times, column) for column in change.T], axis=1)
    return np.where(present[:, None], values + back, values).astype(np.float32)


def _wishing(options: ManipulateOptions, manipulator: Manipulator) -> Wishing:
    """What makes the wishes for a clip; everything that can be wrong is found here."""
    import torch

    from manipulator.learned import strengthened
    from manipulator.translation import label_styles, shared_wishes, timed_wishes

    emotions, length = manipulator.settings.emotions, manipulator.settings.window
    if options.ref_dirs:
        styles = torch.stack([_reference(folder, manipulator) for folder in options.ref_dirs])
        intensities = [options.intensity] * len(styles)
        return lambda times: shared_wishes(styles, len(times), length, intensities)
    labels = strengthened(label_styles(manipulator.networks, options.seed), manipulator)
    if options.timeline is not None:
        timeline = load_timeline(options.timeline, emotions).scaled(options.intensity)

        def timed(times: NDArray[np.float64]) -> Wishes:
            weights = timeline.weights(times, emotions)
            return timed_wishes(labels, weights, length, INTENSITY_LIMIT)

        return timed
    mixtures = [
        parse_mixture(text, emotions, Place(f"emotion {text!r}")) for text in options.trg_emotions
    ]
    weights = np.array([[mixture.get(name, 0.0) for name in emotions] for mixture in mixtures])
    styles, strengths = _mixed(labels, weights)
    strengths = np.minimum(strengths * options.intensity, INTENSITY_LIMIT).tolist()
    return lambda times: shared_wishes(styles, len(times), length, strengths)


def _mixed(labels: Tensor, weights: NDArray[np.float64]) -> tuple[Tensor, NDArray[np.float64]]:
    """(S, E) weights of emotions -> (S, 16) styles and (S,) intensities."""
    import torch

    total = weights.sum(1)
    shares = weights / np.where(total > 0, total, 1)[:, None]
    return torch.from_numpy(shares.astype(np.float32)) @ labels, total


def _reference(folder: Path, manipulator: Manipulator) -> Tensor:
    """The style of the clips in an actor's folder."""
    import torch

    from manipulator.learned import even_rate
    from manipulator.translation import bridge, reference_style

    clips = []
    for path, codes in load_clips(Actor.open(folder)).items():
        check_fit(manipulator, path, codes)
        values, present = values_of(codes)
        if present.any():
            values = bridge(values, present)
            if isinstance(codes, Performance):
                values, _ = even_rate(values, codes.times)
            clips.append(torch.from_numpy(manipulator.normalised(values)))
    if not clips:
        raise NoFaceError(f"the reference {quoted(folder)} never shows a face")
    return reference_style(manipulator.networks, clips)


def _freezing(options: ManipulateOptions, manipulator: Manipulator) -> Freezing:
    """What keeps jaw or mouth: (T, V) changes and their source -> (T, V) changes."""
    freeze, rig = options.freeze, manipulator.face_model == "rig"
    if freeze == "auto":
        freeze = "mouth" if rig else "none"
    if freeze == "none":
        return lambda change, codes: change
    if rig:
        return _freeze_rig(freeze == "mouth")
    return _freeze_flame(freeze == "mouth")


def _freeze_rig(mouth: bool) -> Freezing:
    from deca.rig import load_rig
    from manipulator.directing import (
        Activity,
        ManipulatorSettings,
        yield_to_eyes,
        yield_to_speech,
    )
    from manipulator.speech_lock import SpeechLock

    rig = load_rig()
    lock, settings = SpeechLock(rig), ManipulatorSettings()

    def freeze(change: NDArray[np.float32], codes: Codes) -> NDArray[np.float32]:
        assert isinstance(codes, Performance)
        if mouth:
            activity = Activity(codes, rig, lock)
            change = yield_to_speech(change, codes, lock, activity, settings)
            change = yield_to_eyes(change, rig, activity, settings)
        return np.where(lock.jaw, np.float32(0), change)

    return freeze


def _freeze_flame(mouth: bool) -> Freezing:
    lock = None
    if mouth:
        from deca.flame import load_flame
        from manipulator.flame_lock import FlameLock

        flame = load_flame(require_asset("flame"), require_asset("flame-landmarks"))
        lock = FlameLock(flame)

    def freeze(change: NDArray[np.float32], codes: Codes) -> NDArray[np.float32]:
        assert isinstance(codes, FlameCodes)
        frozen = change.copy()
        frozen[:, 0] = 0
        if lock is not None:
            frozen[:, 1:] = lock.apply(change[:, 1:], codes.pose[:, JAW_OPENING:])
        return frozen

    return freeze


def _move(manipulator: Manipulator, name: str) -> None:
    """Sequences are short and the networks small; only a GPU that is asked for is used."""
    device = find_device("cpu" if name == "auto" else name)
    manipulator.networks.to(device)


def _record(options: ManipulateOptions, checkpoint: Path | None, emotions: Sequence[str]) -> str:
    """What made the experiment, as JSON."""
    own = options.emotions
    data = {
        "version": __version__,
        "options": dataclasses.asdict(options),
        "checkpoint": checkpoint and {"name": checkpoint.name, "hash": content_hash(checkpoint)},
        "emotions": emotions,
        "own_emotions": own and {"name": own.name, "hash": content_hash(own)},
    }
    return json.dumps(data, indent=1, default=str) + "\n"
