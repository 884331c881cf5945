"""Postprocess: rendered faces of an experiment back into the actor's full frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ned.commands.render import render_faces
from ned.core.errors import InputError, quoted
from ned.core.files.actor import Actor
from ned.core.files.frame_files import FileWriter, read_numbers
from ned.core.files.records import Record, fingerprint, locked, sweep
from ned.core.film.clip import Clip
from ned.core.film.image_files import read_image, read_mask
from ned.core.progress import SILENT, Progress
from ned.options.postprocess import PostprocessOptions
from ned.options.render import device_of
from renderer.experiment_conditioning import read_boxes

Image = NDArray[np.uint8]

_VERSION = 1  # counts up when the same input gives other pictures
_RESULTS = ("full_frames", "faces", "images")


def postprocess(options: PostprocessOptions, progress: Progress = SILENT) -> list[str]:
    """Render, unalign and blend; returns lines.

    Every frame of a video that has a rendered face gets a full frame; those without a face are
    written as they were filmed, so that picture and sound stay together.

    Raises:
        InputError: The folder is not preprocessed in test mode, or there is no rendered face.
        AssetError: A checkpoint is of another layout, or a file that FLAME needs is missing.
        OutputError: A file cannot be written.
    """
    from postprocessing.blend import Blending

    blending = Blending(options.method, options.levels, options.copied_levels)
    actor = Actor.open(options.celeb_path)
    experiment = actor.experiment(options.exp_name)
    if not options.skip_render:
        device = device_of(options.gpu_ids)
        render_faces(
            actor, experiment, options.checkpoints_dir, progress, options.which_epoch, device
        )
    faces = experiment.frames("faces_aligned")
    if not faces:
        raise InputError(
            f"{quoted(experiment.folder_of('faces_aligned'))} holds no rendered faces like "
            "000000.png; render them first"
        )
    kinds = _RESULTS if options.keep_all else _RESULTS[:1]
    lines = []
    with locked(experiment.lock_file, experiment.folder):
        for kind in kinds:
            sweep(experiment.folder_of(kind))
        for reel in _reels(actor, faces):
            made = _hash(options, reel)
            record = Record.load(experiment.state_file(reel.video, "json"))
            changed = any(record.made.get(kind) != made for kind in kinds)
            if changed:
                for kind in kinds:
                    for frame in reel.frames:
                        experiment.frame_file(kind, frame).unlink(missing_ok=True)
                record.first, record.count = reel.first, reel.count
                record.begin(dict.fromkeys(kinds, made))
            _blend_reel(reel, experiment, kinds, options, blending, progress)
            record.finish(set(kinds))
            lines.append(
                f"{experiment.folder_of('full_frames')}: {reel.count} frames of "
                f"{reel.video.name}, {len(reel.faces)} with a rendered face"
            )
    return lines


@dataclass(frozen=True, eq=False)
class _Reel:
    """One video with rendered faces.

    Attributes:
        video: the file. boxes: (n, 4) crop boxes of its frames. first: number of its first frame.
        faces: rendered faces by frame number. masks, transforms: the actor's own, likewise.
    """

    video: Path
    boxes: NDArray[np.int64]
    boxes_file: Path
    first: int
    faces: Mapping[int, Path]
    masks: Mapping[int, Path]
    transforms: Mapping[int, Path]
    full_frames: Mapping[int, Path]

    @property
    def count(self) -> int:
        return len(self.boxes)

    @property
    def frames(self) -> range:
        return range(self.first, self.first + self.count)


def _reels(actor: Actor, faces: Mapping[int, Path]) -> list[_Reel]:
    """The actor's videos that have rendered faces."""
    masks, transforms = actor.frames("masks"), actor.frames("align_transforms")
    full_frames = actor.frames("full_frames")
    found, first = [], 0
    for video in actor.videos:
        path = actor.boxes_file(video)
        boxes = read_boxes(path)
        frames = range(first, first + len(boxes))
        own = {frame: face for frame, face in faces.items() if frame in frames}
        for kind, files in (("masks", masks), ("align_transforms", transforms)):
            lacking = [frame for frame in own if frame not in files]
            if lacking:
                raise InputError(
                    f"{quoted(actor.folder_of(kind))} has nothing for frame {lacking[0]}; "
                    "preprocess the actor in test mode"
                )
        if own:
            found.append(_Reel(video, boxes, path, first, own, masks, transforms, full_frames))
        first += len(boxes)
    beyond = [frame for frame in faces if frame >= first]
    if beyond:
        raise InputError(
            f"frame {beyond[0]} is rendered, but the actor's videos have {first} frames only"
        )
    return found


def _hash(options: PostprocessOptions, reel: _Reel) -> str:
    def state(files: Mapping[int, Path]) -> list[object]:
        found = ((frame, files[frame].stat()) for frame in reel.faces)
        return [(frame, one.st_size, one.st_mtime_ns) for frame, one in found]

    one = reel.boxes_file.stat()
    return fingerprint(
        version=_VERSION,
        method=(options.method, options.levels, options.copied_levels, options.blend_at),
        first=reel.first,
        boxes=(one.st_size, one.st_mtime_ns),
        faces=state(reel.faces),
        masks=state(reel.masks),
        transforms=state(reel.transforms),
    )


def _blend_reel(
    reel: _Reel,
    experiment: Actor,
    kinds: tuple[str, ...],
    options: PostprocessOptions,
    blending: object,
    progress: Progress,
) -> None:
    present = {kind: experiment.frames(kind) for kind in kinds}
    missing = [
        frame
        for frame in reel.frames
        if frame not in present["full_frames"]
        or (frame in reel.faces and any(frame not in present[kind] for kind in kinds))
    ]
    if not missing:
        return
    with progress.stage("blending", len(missing)) as step, FileWriter() as writer:
        for frame, image in _frames(reel, set(missing)):
            results = {"full_frames": image}
            if frame in reel.faces:
                results = _blend_frame(reel, frame, image, kinds, options, blending)
            for kind, result in results.items():
                writer.png(experiment.frame_file(kind, frame), result)
            step(1)


def _blend_frame(
    reel: _Reel,
    frame: int,
    image: Image,
    kinds: tuple[str, ...],
    options: PostprocessOptions,
    blending: object,
) -> dict[str, Image]:
    from postprocessing.blend import Blending, blend, blend_at_box, blend_into_frame, paste
    from postprocessing.unalign import unalign

    assert isinstance(blending, Blending)
    aligned = read_image(reel.faces[frame])
    mask = read_mask(reel.masks[frame])
    aligned_from_crop = read_numbers(reel.transforms[frame], 3, 2)
    box = reel.boxes[frame - reel.first]
    results: dict[str, Image] = {}
    if options.blend_at == "frame" and kinds == _RESULTS[:1]:
        whole = blend_into_frame(image, aligned, mask, box, aligned_from_crop, blending)
        return {"full_frames": whole}
    face = unalign(aligned, mask, aligned_from_crop)
    crop = blend(_crop(image, box, mask.shape[0]), face, mask, blending)
    if options.blend_at == "frame":
        whole = blend_into_frame(image, aligned, mask, box, aligned_from_crop, blending)
    elif options.blend_at == "box":
        whole = blend_at_box(image, face, mask, box, blending)
    else:
        whole = paste(image, crop, box)
    results = {"full_frames": whole, "faces": face, "images": crop}
    return {kind: results[kind] for kind in kinds}


def _crop(image: Image, box: NDArray[np.int64], pixels: int) -> Image:
    from preprocessing.boxes import cut

    return cut(image, box, pixels)


def _frames(reel: _Reel, wanted: set[int]) -> Iterator[tuple[int, Image]]:
    """Original frames, from the actor's full_frames where they are, else from the video."""
    if all(frame in reel.full_frames for frame in wanted):
        for frame in sorted(wanted):
            yield frame, read_image(reel.full_frames[frame])
        return
    clip = Clip.open(reel.video)
    count = 0
    for picture in clip.frames():
        count += 1
        if reel.first + picture.index in wanted:
            yield reel.first + picture.index, picture.rgb()
        if count == reel.count:
            return
    raise InputError(
        f"{quoted(reel.video)} has {count} frames, its crop boxes tell of {reel.count}; "
        "preprocess the actor anew"
    )
