"""Inputs: what a neural renderer is given of a changed performance, drawn from its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deca.flame_pickles import import_codes, load_codes
from deca.reconstructors import CROP_PIXELS, DecaReconstructor
from ned.core.errors import InputError, quoted
from ned.core.face import similarity
from ned.core.face.flame_codes import FlameCodes
from ned.core.face.performance import Performance
from ned.core.files.actor import Actor
from ned.core.files.assets import require_asset
from ned.core.files.frame_files import FileWriter, read_numbers
from ned.core.files.records import Record, content_hash, fingerprint, sweep
from ned.core.progress import SILENT, Progress

if TYPE_CHECKING:
    from deca.reconstruction import HeadDecoder

KINDS = ("nmfcs_aligned", "shapes_aligned", "eye_landmarks_aligned")

_VERSION = 1  # counts up when the same parameters give other pictures
_CHUNK = 16  # frames in memory at once
Drawn = tuple[int, NDArray[np.uint8], NDArray[np.uint8], NDArray[Any]]  # NMFC, shape, eye points


def face_model_of(actor: Actor) -> str | None:
    """The 3D face of an actor's or experiment's parameters, "rig" or "flame"; None unknown."""
    from safetensors import SafetensorError, safe_open

    for path in sorted(actor.codes_folder.glob("*.safetensors")):
        try:
            with safe_open(path, "numpy") as file:
                kind = (file.metadata() or {}).get("format", "")
        except (OSError, SafetensorError):
            return None
        return "rig" if kind.startswith("ned-performance") else "flame"
    return "flame" if actor.codes_pickles() else None


def draw_inputs(actor: Actor, experiment: Actor, progress: Progress = SILENT) -> None:
    """Fill an experiment's nmfcs_aligned, shapes_aligned and eye_landmarks_aligned.

    They are drawn if they are missing, or if this tool drew them from other parameters; those of
    other tools are left alone.

    Raises:
        InputError: There is nothing to draw from, or the actor is not preprocessed in test mode.
        AssetError: A file that FLAME needs is missing. OutputError: A file cannot be written.
    """
    present = all(experiment.frames(kind) for kind in KINDS)
    record = Record.load(experiment.folder / ".ned" / "inputs.json")
    if present and "inputs" not in record.made:
        return
    model = face_model_of(experiment)
    if model is None:
        if present:
            return
        raise InputError(
            f"{quoted(experiment.codes_folder)} holds no changed parameters; make them with "
            "manipulator/test.py, or draw nmfcs_aligned and the others elsewhere"
        )
    if model == "flame":
        _import_pickles(experiment, actor)
    files = {path.name: content_hash(path) for path in _codes_files(experiment)}
    made = fingerprint(version=_VERSION, codes=files)
    if present and record.made.get("inputs") == made and "inputs" in record.done:
        return
    draw = _draw_rig if model == "rig" else _draw_flame
    own = face_model_of(actor)
    if own != model:
        raise InputError(
            f"{quoted(experiment.folder)} was made with the {model} face, the actor is "
            f"preprocessed with {own or 'none'}; preprocess and change it with the same"
        )
    count, frames = draw(actor, experiment)
    record.begin({"inputs": made})
    for kind in KINDS:
        sweep(experiment.folder_of(kind))
    with progress.stage("conditioning", count) as step, FileWriter() as writer:
        for frame, nmfc, shape, eyes in frames():
            writer.png(experiment.frame_file("nmfcs_aligned", frame), nmfc)
            writer.png(experiment.frame_file("shapes_aligned", frame), shape)
            writer.numbers(experiment.frame_file("eye_landmarks_aligned", frame), eyes)
            step(1)
    record.finish({"inputs"})


def video_starts(actor: Actor) -> dict[str, tuple[int, int]]:
    """First frame number and count of frames by name of video, as the box files tell.

    Raises:
        InputError: The actor is not preprocessed in test mode.
    """
    found: dict[str, tuple[int, int]] = {}
    first = 0
    for video in actor.videos:
        count = len(read_boxes(actor.boxes_file(video)))
        found[video.stem] = first, count
        first += count
    return found


def read_boxes(path: Path) -> NDArray[np.int64]:
    """(n, 4) crop boxes of a video.

    Raises:
        InputError: There are none.
    """
    try:
        return np.loadtxt(path, skiprows=1, ndmin=2).astype(np.int64).reshape(-1, 4)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{quoted(path)} holds no crop boxes; preprocess the actor in test mode"
        ) from error


def _codes_files(actor: Actor) -> list[Path]:
    return sorted(actor.codes_folder.glob("*.safetensors"))


def _import_pickles(experiment: Actor, actor: Actor) -> None:
    """Read NED's .pkl files where there is nothing else."""
    if not _codes_files(actor) and actor.codes_pickles():
        import_codes(actor.folder)
    if not _codes_files(experiment):
        import_codes(actor.folder, experiment.folder.name)


def _draw_rig(actor: Actor, experiment: Actor) -> tuple[int, Callable[[], Iterator[Drawn]]]:
    """How many frames there are, and their pictures."""
    starts = video_starts(actor)
    pairs = []
    for path in _codes_files(experiment):
        if path.stem not in starts:
            raise InputError(f"{quoted(path)} belongs to no video of {quoted(actor.folder)}")
        own = Performance.load(actor.codes_folder / path.name)
        changed = Performance.load(path)
        units = changed.units if changed.directed is None else changed.directed
        first, count = starts[path.stem]
        if units.shape != own.units.shape or len(own) < count:
            raise InputError(
                f"{quoted(path)} has {len(units)} frames of {units.shape[1]} units, the actor's "
                f"own {len(own)} of {own.units.shape[1]} and a video of {count}; make it anew"
            )
        boxes = read_boxes(actor.folder / "videos" / f"{path.stem}.txt")
        pairs.append((own, units, first, boxes))

    def frames() -> Iterator[Drawn]:
        for pair in pairs:
            yield from _rig_frames(actor, *pair)

    return sum(len(boxes) for *_, boxes in pairs), frames


def _rig_frames(
    actor: Actor,
    performance: Performance,
    units: NDArray[np.float32],
    first: int,
    boxes: NDArray[np.int64],
) -> Iterator[Drawn]:
    from deca.rig_pictures import RigConditioner
    from preprocessing.align import held_rows
    from preprocessing.boxes import crop_from_frame

    seen = held_rows(performance.track.present[: len(boxes)])
    conditioner = RigConditioner(performance, size=CROP_PIXELS)
    crops = crop_from_frame(boxes)
    for row, one in enumerate(seen.tolist()):  # a frame without a face holds the one before
        aligned_from_crop = read_numbers(actor.frame_file("align_transforms", first + one), 3, 2)
        maps = similarity.compose(aligned_from_crop, crops[one])[None]
        wanted = units[one : one + 1]
        pictures = conditioner.draw(one, one + 1, maps, wanted)
        eyes = conditioner.eye_landmarks(one, one + 1, crops[one][None], wanted)[0]
        # whole pixels of the crop, as the files of the source have them
        eyes = similarity.apply(aligned_from_crop, np.trunc(eyes))
        yield first + row, pictures.nmfc[0], pictures.shape[0], eyes


def _draw_flame(actor: Actor, experiment: Actor) -> tuple[int, Callable[[], Iterator[Drawn]]]:
    """How many frames there are, and their pictures."""
    own, changed = load_codes(actor), load_codes(experiment)
    rows = np.searchsorted(own.frames, changed.frames)
    if (rows >= len(own)).any() or (own.frames[rows % len(own)] != changed.frames).any():
        raise InputError(
            f"{quoted(experiment.codes_folder)} has frames that the actor's own codes do not have"
        )
    codes = own[rows].with_manipulated(changed.manipulable)
    decoder = _decoder(codes)

    def frames() -> Iterator[Drawn]:
        for start in range(0, len(codes), _CHUNK):
            yield from _flame_frames(actor, decoder, codes[start : start + _CHUNK])

    return len(codes), frames


def _decoder(codes: FlameCodes) -> HeadDecoder:
    if codes.detail is not None and codes.detail.any():
        return DecaReconstructor().decoder
    from deca.flame import load_flame
    from deca.reconstruction import HeadDecoder

    return HeadDecoder(load_flame(require_asset("flame"), require_asset("flame-landmarks")))


def _flame_frames(actor: Actor, decoder: HeadDecoder, codes: FlameCodes) -> Iterator[Drawn]:
    from deca.flame_pictures import condition_heads
    from preprocessing.align import warp_image
    from preprocessing.eye_sketch import EYE_POINTS, aligned_eye_landmarks, edited_eye_landmarks

    pictures, lids = condition_heads(decoder, codes, "nearest")
    numbers = codes.frames.tolist()
    source = np.stack(
        [
            read_numbers(actor.frame_file("eye_landmarks", frame), 2)[:EYE_POINTS]
            for frame in numbers
        ]
    )
    eyes = edited_eye_landmarks(lids, source)
    for frame, picture, points in zip(numbers, pictures, eyes, strict=True):
        transform = read_numbers(actor.frame_file("align_transforms", frame), 3, 2)
        yield (
            frame,
            warp_image(picture.nmfc, transform),
            warp_image(picture.shape, transform),
            aligned_eye_landmarks(points, transform),
        )
