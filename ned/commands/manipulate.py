"""Manipulate: an actor's performances in, an experiment's out, changed by one of the directors."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from manipulator.directors import DIRECTORS
from ned import __version__
from ned.core.device import find_device
from ned.core.errors import AssetError, InputError, NoFaceError, quoted
from ned.core.face.performance import Performance, joined, load_performances
from ned.core.files.actor import Actor
from ned.core.files.assets import require_asset
from ned.core.files.checkpoint import require_torch
from ned.core.files.records import content_hash, locked, write_atomically
from ned.core.film.clip import Clip
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

Changing = Callable[[str, Performance], Performance]  # of a clip's name and performance
Wishing = Callable[[NDArray[np.float64]], "Wishes"]  # of frames at (T,) seconds
Freezing = Callable[[NDArray[np.float32], Performance], NDArray[np.float32]]

_FOLDER = Path("manipulator_checkpoints")
_SHIPPED = "manipulator_rig.safetensors"


def manipulate(options: ManipulateOptions, progress: Progress = SILENT) -> list[str]:
    """Change every clip of an actor; returns lines.

    Raises:
        InputError: The folder, an emotion or a value cannot be used, or the director or its
            checkpoint is for another face.
        AssetError: There is no checkpoint, or a file that --freeze needs.
        OutputError: A result cannot be written.
    """
    actor = Actor.open(options.celeb)
    experiment = actor.experiment(options.exp_name)
    clips = load_performances(actor)
    models = sorted({performance.face_model for performance in clips.values()})
    learned = _is_learned(options, models)
    change, record = (_networks if learned else _rules)(options, actor, clips)
    with locked(experiment.lock_file, experiment.folder):
        lines = []
        with progress.stage("translating", sum(map(len, clips.values()))) as step:
            for path, performance in clips.items():
                target = experiment.performances_folder / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                change(path.stem, performance).save(target)
                lines.append(f"{target}: {len(performance)} frames")
                step(len(performance))
        file = experiment.folder / ".ned" / "manipulation.json"
        write_atomically(file, _record(options, record).encode())
    return lines


def _is_learned(options: ManipulateOptions, models: list[str]) -> bool:
    """True if networks direct; rules know the rig only."""
    if options.director not in ("auto", *DIRECTORS):
        known = ", ".join(("auto", *DIRECTORS))
        raise InputError(f"--director is {options.director!r}, give one of {known}")
    if options.director == "procedural" or options.emotions is not None:
        other = next((model for model in models if model != "rig"), None)
        if other is not None:
            raise InputError(
                f"--director procedural and --emotions direct the rig only, {quoted(options.celeb)}"
                f" is preprocessed with {other}; preprocess with --reconstructor rig, or give "
                "--director learned"
            )
        return False
    given = options.checkpoints_dir is not None or _FOLDER.is_dir()
    return options.director == "learned" or given or models != ["rig"]


def _rules(
    options: ManipulateOptions, actor: Actor, clips: dict[Path, Performance]
) -> tuple[Changing, dict[str, object]]:
    """What changes a clip of the rig as `ned direct` does, and what to note of it."""
    from deca.rig import load_rig
    from manipulator.directing import direct_performance
    from manipulator.director import Direction
    from manipulator.directors import open_director
    from manipulator.prototypes import load_prototypes
    from manipulator.speech_lock import SpeechLock

    rig = load_rig()
    prototypes = load_prototypes(options.emotions, rig)
    known = tuple(prototypes)
    references = [
        joined(list(load_performances(Actor.open(folder)).values())) for folder in options.ref_dirs
    ]
    if len(references) > 1:
        raise InputError(
            f"{len(references)} --ref_dirs given; --director procedural takes on the style of one, "
            "--director learned of several"
        )
    reference = references[0] if references else None
    director = open_director("procedural", rig, reference, prototypes)
    videos = _videos(actor)
    jaw = SpeechLock(rig).jaw

    def timeline(name: str, performance: Performance) -> Timeline | None:
        if options.ref_dirs:
            return None
        if options.timeline is not None:
            return load_timeline(options.timeline, known).scaled(options.intensity)
        duration = Clip.open(videos[name]).duration if name in videos else None
        end = float(performance.times[-1]) if len(performance) else 0.0
        split = Timeline.split(options.trg_emotions, duration or end, known)
        return split.scaled(options.intensity)

    # everything that can be wrong is found now
    timelines = {path.stem: timeline(path.stem, one) for path, one in clips.items()}

    def change(name: str, performance: Performance) -> Performance:
        direction = Direction(
            timelines[name],
            intensity=options.intensity,
            speech_lock=1.0 if options.freeze in ("auto", "mouth") else 0.0,
            seed=options.seed,
        )
        changed = direct_performance(performance, direction, rig, director).change
        if options.freeze == "jaw":
            changed = np.where(jaw, np.float32(0), changed)
        return dataclasses.replace(performance, directed=performance.units + changed)

    own = options.emotions
    return change, {
        "director": "procedural",
        "checkpoint": None,
        "emotions": known,
        "own_emotions": own and {"name": own.name, "hash": content_hash(own)},
    }


def _videos(actor: Actor) -> dict[str, Path]:
    """The actor's videos by name, where they are still there: they tell the length of a clip."""
    try:
        return {video.stem: video for video in actor.videos}
    except InputError:
        return {}


def _networks(
    options: ManipulateOptions, actor: Actor, clips: dict[Path, Performance]
) -> tuple[Changing, dict[str, object]]:
    """What changes a clip as NED's networks do, and what to note of it."""
    require_torch("the learned director")
    manipulator = open_manipulator(options.checkpoints_dir, options.which_epoch)
    for path, performance in clips.items():
        check_fit(manipulator, path, performance)
    wishing, freeze = _wishing(options, manipulator), _freezing(options, manipulator)
    _move(manipulator, device_of(options.device, options.gpu_ids))

    def change(name: str, performance: Performance) -> Performance:
        return _translated(performance, wishing, manipulator, freeze, options)

    path = manipulator.path
    return change, {
        "director": "learned",
        "checkpoint": None if path is None else {"name": path.name, "hash": content_hash(path)},
        "emotions": manipulator.settings.emotions,
    }


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


def check_fit(manipulator: Manipulator, path: Path, performance: Performance) -> None:
    """Raise InputError unless the manipulator is made for such face parameters."""
    if performance.face_model != manipulator.face_model:
        raise InputError(
            f"{quoted(path)} holds units of the face model {performance.face_model}, but the "
            f"manipulator {quoted(manipulator.path or '')} is for {manipulator.face_model}; "
            "preprocess with the other --reconstructor, or give another --checkpoints_dir"
        )
    names = manipulator.unit_names
    if names and performance.unit_names != names:
        raise InputError(
            f"{quoted(path)} and the manipulator {quoted(manipulator.path or '')} are of different "
            f"versions of the {manipulator.face_model}; preprocess again, or train again"
        )


def _translated(
    performance: Performance,
    wishing: Wishing,
    manipulator: Manipulator,
    freeze: Freezing,
    options: ManipulateOptions,
) -> Performance:
    units = performance.units
    result = units
    if performance.present.any():
        result = _asked(performance, wishing, manipulator, options)
    if not np.array_equal(result, units):
        change = freeze(result - units, performance)
        whole = (change == result - units).all(1)[:, None]  # then without the detour's rounding
        result = np.where(whole, result, units + change).astype(np.float32)
    return dataclasses.replace(performance, directed=result)


def _asked(
    performance: Performance, wishing: Wishing, manipulator: Manipulator, options: ManipulateOptions
) -> NDArray[np.float32]:
    """(T, U) what the networks ask for.

    Networks of our own know one frame rate: performances of another are brought to it, and the
    change is brought back. NED's take frames as they come.
    """
    from manipulator.networks import is_as_given
    from manipulator.translation import TranslationSettings, bridge, translate_values

    settings = TranslationSettings(options.edges, options.precision)
    units, present = performance.units, performance.present
    times = _times(performance, options.frame_rate)
    if is_as_given(performance.face_model):
        return translate_values(units, wishing(times), manipulator, settings, present)

    from manipulator.learned import even_rate

    even, even_times = even_rate(bridge(units, present), times)
    if len(even_times) == len(units) and np.array_equal(even_times, times):
        return translate_values(units, wishing(times), manipulator, settings, present)
    change = translate_values(even, wishing(even_times), manipulator, settings) - even
    back = np.stack([np.interp(times, even_times, column) for column in change.T], axis=1)
    return np.where(present[:, None], units + back, units).astype(np.float32)


def _times(performance: Performance, frame_rate: float) -> NDArray[np.float64]:
    """(T,) seconds; counted at a rate where the footage does not say."""
    times = performance.times
    return times if np.isfinite(times).all() else np.arange(len(times)) / frame_rate


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
    from manipulator.networks import is_as_given
    from manipulator.translation import bridge, reference_style

    clips = []
    for path, performance in load_performances(Actor.open(folder)).items():
        check_fit(manipulator, path, performance)
        if performance.present.any():
            units = bridge(performance.units, performance.present)
            if not is_as_given(performance.face_model):
                units, _ = even_rate(units, performance.times)
            clips.append(torch.from_numpy(manipulator.normalised(units)))
    if not clips:
        raise NoFaceError(f"the reference {quoted(folder)} never shows a face")
    return reference_style(manipulator.networks, clips)


def _freezing(options: ManipulateOptions, manipulator: Manipulator) -> Freezing:
    """What keeps jaw or mouth: (T, U) changes and their source -> (T, U) changes."""
    freeze = options.freeze
    if freeze == "auto":
        freeze = _FROZEN.get(manipulator.face_model, "none")
    if freeze == "none":
        return lambda change, performance: change
    return _LOCKS.get(manipulator.face_model, _freeze_jaw)(freeze == "mouth")


def _freeze_jaw(mouth: bool) -> Freezing:
    """For a face model of which nothing else is known: its jaw stays."""

    def freeze(change: NDArray[np.float32], performance: Performance) -> NDArray[np.float32]:
        jaw = [name.startswith("jaw_") for name in performance.unit_names]
        return np.where(jaw, np.float32(0), change)

    return freeze


def _freeze_rig(mouth: bool) -> Freezing:
    from deca.rig import load_rig
    from manipulator.activity import Activity
    from manipulator.directing import yield_to_eyes, yield_to_speech
    from manipulator.manipulator_settings import ManipulatorSettings
    from manipulator.speech_lock import SpeechLock

    rig = load_rig()
    lock, settings = SpeechLock(rig), ManipulatorSettings()

    def freeze(change: NDArray[np.float32], performance: Performance) -> NDArray[np.float32]:
        if mouth:
            activity = Activity(performance, rig, lock)
            change = yield_to_speech(change, performance, lock, activity, settings)
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

    def freeze(change: NDArray[np.float32], performance: Performance) -> NDArray[np.float32]:
        frozen = change.copy()
        frozen[:, 0] = 0
        if lock is not None:
            frozen[:, 1:] = lock.apply(change[:, 1:], performance.parameters["pose"][:, 3:])
        return frozen

    return freeze


_LOCKS: dict[str, Callable[[bool], Freezing]] = {"rig": _freeze_rig, "flame": _freeze_flame}
_FROZEN = {"rig": "mouth"}  # what --freeze auto keeps; nothing for other face models


def _move(manipulator: Manipulator, name: str) -> None:
    """Sequences are short and the networks small; only a GPU that is asked for is used."""
    device = find_device("cpu" if name == "auto" else name)
    manipulator.networks.to(device)


def _record(options: ManipulateOptions, made_by: dict[str, object]) -> str:
    """What made the experiment, as JSON."""
    data = {"version": __version__, "options": dataclasses.asdict(options), **made_by}
    return json.dumps(data, indent=1, default=str) + "\n"
