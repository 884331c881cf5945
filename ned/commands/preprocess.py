"""Preprocess: the folder of one actor, from footage to everything that a renderer learns from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deca.face_models import open_face_model
from ned.core.errors import InputError, quoted
from ned.core.face.face_model import FaceModel
from ned.core.face.performance import Performance, joined
from ned.core.files.actor import KINDS, Actor
from ned.core.files.assets import find_asset
from ned.core.files.frame_files import FileWriter
from ned.core.files.records import fingerprint, locked, sweep, write_atomically
from ned.core.film.image_files import read_mask
from ned.core.progress import SILENT, Progress
from ned.options.preprocess import PreprocessOptions
from preprocessing.actor_video import ActorVideo, open_reels, remove_stale
from preprocessing.crop_landmarks import Landmarking, make_landmarking
from preprocessing.crop_masks import Masking, make_masking
from preprocessing.crop_pictures import OF_PIXELS, CropPictures

_CHUNK = 32  # frames
_SKETCHED = ("eye_landmarks", "eye_landmarks_aligned", "align_transforms")
_MASKED = ("masks", "masks_aligned")
_FACES = ("faces", "faces_aligned")
_DRAWN = ("nmfcs", "nmfcs_aligned", "shapes", "shapes_aligned")
_DUPLICATES = ("full_frames", "faces", "nmfcs", "shapes")  # made again faster than read
_VERSIONS = dict.fromkeys(KINDS, 1)  # count up when the same input gives another file


def preprocess(options: PreprocessOptions, progress: Progress = SILENT) -> list[str]:
    """Make the folders that a mode needs, as far as they are not up to date; returns lines.

    Raises:
        InputError: The folder, a video or a value cannot be used; NoFaceError without a face.
        AssetError: A file that an option needs is missing.
        OutputError: A file cannot be written; what was written before stays and is gone on with.
    """
    split = options.split if options.mode == "train" else None
    actor = dataclasses.replace(Actor.open(options.celeb_path), split=split)
    _ = actor.videos
    model = open_face_model(options.reconstructor, options.device)
    landmarking = make_landmarking(options.landmarks, options.device)
    masking = make_masking(_masks(options), options.device)
    with locked(actor.lock_file, actor.folder):
        reels = open_reels(actor, options.actor, progress)
        tools = (model, landmarking, masking)
        plans = [_Plan.of(reel, options, *tools) for reel in reels]
        if all(plan.finished for plan in plans):
            return [_summary(actor, reels, options, unchanged=True)]
        model.check()
        landmarking.check()
        remove_stale(actor, reels, [plan.hashes for plan in plans])
        for kind in plans[0].kinds:
            sweep(actor.folder_of(kind))
        for plan in plans:
            _make(plan, options, progress)
    return [_summary(actor, reels, options, unchanged=False)]


def _masks(options: PreprocessOptions) -> str:
    """The masks that are wanted; "auto" is FSGAN's for DECA's faces where its file is there."""
    if options.masks != "auto":
        return options.masks
    network = options.reconstructor == "deca" and find_asset("fsgan-segmentation") is not None
    return "fsgan" if network else "mesh"


def kinds_of(mode: str, keep_all: bool) -> tuple[str, ...]:
    """The kinds of frame files that a mode needs, in the order in which they are made."""
    if mode == "reference":
        kinds = ("images", "full_frames")
    else:
        kinds = ("images", "full_frames", *_SKETCHED, *_MASKED, *_FACES, *_DRAWN)
        if mode == "train":
            kinds = tuple(kind for kind in kinds if kind != "full_frames")
    return kinds if keep_all else tuple(kind for kind in kinds if kind not in _DUPLICATES)


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is to be made of one reel, and of what."""

    reel: ActorVideo
    model: FaceModel
    landmarking: Landmarking
    masking: Masking
    kinds: tuple[str, ...]
    hashes: Mapping[str, str]
    codes_hash: str
    boxes_hash: str | None

    @classmethod
    def of(
        cls,
        reel: ActorVideo,
        options: PreprocessOptions,
        model: FaceModel,
        landmarking: Landmarking,
        masking: Masking,
    ) -> _Plan:
        kinds = kinds_of(options.mode, options.keep_all)
        track = reel.tracking_hash
        points = fingerprint(track=track, by=landmarking.fingerprint)
        face = fingerprint(input=points if model.of_pixels else track, by=model.fingerprint)
        codes = fingerprint(model=face, first=reel.first, kept=reel.kept)
        masks = fingerprint(track=track, by=masking.fingerprint)
        mouth = options.mode == "train"
        parents: dict[str, object] = {
            **dict.fromkeys(("images", "full_frames"), track),
            **dict.fromkeys(_SKETCHED, (points, mouth)),
            **dict.fromkeys((*_MASKED, *_FACES), (masks, points)),
            **dict.fromkeys(_DRAWN, (face, points)),
        }
        hashes = {
            kind: fingerprint(kind=kind, version=_VERSIONS[kind], parents=parents[kind])
            for kind in kinds
        }
        boxes = fingerprint(track=track, what="boxes") if options.mode == "test" else None
        return cls(reel, model, landmarking, masking, kinds, hashes, codes, boxes)

    @property
    def finished(self) -> bool:
        """True if everything is there and made of what it would be made of now."""
        reel, record = self.reel, self.reel.record
        if (record.first, record.count, record.split) != (reel.first, reel.kept, reel.actor.split):
            return False
        if not self.has_codes or not self.has_boxes:
            return False
        same = all(record.made.get(kind) == made for kind, made in self.hashes.items())
        return same and not any(self.missing(kind).any() for kind in self.kinds)

    @property
    def has_codes(self) -> bool:
        return self._has(
            "codes", self.codes_hash, self.reel.actor.performance_file(self.reel.video)
        )

    @property
    def has_boxes(self) -> bool:
        path = self.reel.actor.boxes_file(self.reel.video)
        return self.boxes_hash is None or self._has("boxes", self.boxes_hash, path)

    def _has(self, name: str, made: str, path: Path) -> bool:
        record = self.reel.record
        return record.made.get(name) == made and name in record.done and path.is_file()

    def missing(self, kind: str) -> NDArray[np.bool_]:
        """(kept,) True for rows whose file of that kind is not there."""
        reel = self.reel
        present = reel.actor.frames(kind)
        return np.array([reel.frame(row) not in present for row in range(reel.kept)], bool)

    def part_file(self, start: int) -> Path:
        """Where the codes of a chunk wait for the others."""
        return self.reel.actor.state_file(
            self.reel.video, f"codes-{self.codes_hash[:12]}-{start:06d}.safetensors"
        )


def _make(plan: _Plan, options: PreprocessOptions, progress: Progress) -> None:
    """Write what is missing of one reel; what is written already is not touched."""
    reel, record = plan.reel, plan.reel.record
    record.begin(plan.hashes)
    if plan.boxes_hash is not None and not plan.has_boxes:
        _write_boxes(plan)
    performance: Performance | None = None
    path = reel.actor.performance_file(reel.video)
    if plan.has_codes:
        performance = Performance.load(path)
    elif not plan.model.of_pixels:
        maps = reel.crop_from_frame[reel.seen]
        performance = plan.model.fit(reel.track, maps, reel.kept, progress)
        performance.frames = reel.first + np.arange(len(performance))
        _save(plan, performance)
    missing = {kind: plan.missing(kind) for kind in plan.kinds}
    if performance is None or any(rows.any() for rows in missing.values()):
        _make_frames(plan, missing, performance, options, progress)
    if performance is None:
        parts = [plan.part_file(start) for start in range(0, reel.kept, _CHUNK)]
        _save(plan, joined([Performance.load(part) for part in parts]))
        for part in reel.actor.state_file(reel.video, "json").parent.glob(
            f"{reel.video.name}.codes-*"
        ):
            part.unlink()
    record.finish(plan.hashes)


def _save(plan: _Plan, performance: Performance) -> None:
    reel = plan.reel
    path = reel.actor.performance_file(reel.video)
    path.parent.mkdir(exist_ok=True)
    reel.record.begin({"codes": plan.codes_hash})
    performance.save(path)
    reel.record.finish({"codes"})


def _write_boxes(plan: _Plan) -> None:
    reel = plan.reel
    assert plan.boxes_hash is not None
    rate = float(reel.clip.frame_rate)
    lines = [f"{reel.video} {rate:g} fps {len(reel)} frames"]
    lines += [" ".join(f"{value:.18e}" for value in box) for box in reel.boxes.tolist()]
    reel.record.begin({"boxes": plan.boxes_hash})
    write_atomically(reel.actor.boxes_file(reel.video), ("\n".join(lines) + "\n").encode())
    reel.record.finish({"boxes"})


def _make_frames(
    plan: _Plan,
    missing: Mapping[str, NDArray[np.bool_]],
    performance: Performance | None,
    options: PreprocessOptions,
    progress: Progress,
) -> None:
    reel = plan.reel
    needed = np.zeros(reel.kept, bool)
    for rows in missing.values():
        needed |= rows
    of_pixels = {kind for kind in plan.kinds if kind in OF_PIXELS}
    if plan.masking.of_pixels:
        of_pixels |= {kind for kind in plan.kinds if kind in _MASKED}
    if plan.landmarking.of_pixels:
        of_pixels |= set(plan.kinds)
    pixels = np.zeros(reel.kept, bool)
    for kind in of_pixels:
        pixels |= missing[kind]
    for start in range(0, reel.kept, _CHUNK):  # a chunk has all of its crops or none
        rows = slice(start, start + _CHUNK)
        pixels[rows] = needed[rows] & pixels[rows].any()
    if performance is None:  # it comes from the crops of whole chunks
        for start in range(0, reel.kept, _CHUNK):
            if not plan.part_file(start).is_file():
                needed[start : start + _CHUNK] = pixels[start : start + _CHUNK] = True
    with progress.stage("preparing", int(needed.sum())) as step, FileWriter() as writer:
        footage = _Footage(reel, pixels, missing.get("full_frames"), writer)
        previous: NDArray[np.bool_] | None = None
        for start in range(0, reel.kept, _CHUNK):
            rows = start + np.flatnonzero(needed[start : start + _CHUNK])
            if not len(rows):
                previous = None
                continue
            crops = footage.crops(rows)
            chunk = CropPictures(
                reel=reel,
                rows=rows,
                mouth=options.mode == "train",
                crops=crops,
                landmarking=plan.landmarking,
                masking=plan.masking,
                draw=None,
                previous_mask=_mask_before(reel, int(rows[0]), previous),
            )
            if performance is None:
                chunk.draw = partial(plan.model.draw, _part(plan, start, chunk), rows - start)
            else:
                chunk.draw = partial(plan.model.draw, performance, rows)
            for kind in plan.kinds:
                if kind != "full_frames" and missing[kind][rows].any():
                    _write(chunk, kind, missing[kind], writer)
            previous = chunk.last_mask
            step(len(rows))


def _part(plan: _Plan, start: int, chunk: CropPictures) -> Performance:
    """The performance of a whole chunk, as saved by a run that was killed, or estimated now."""
    path = plan.part_file(start)
    if path.is_file():
        return Performance.load(path)
    reel, rows = plan.reel, chunk.rows
    performance = plan.model.encode(
        chunk.images, chunk.landmarks, reel.track[rows], reel.first + rows
    )
    performance.save(path)
    return performance


def _write(chunk: CropPictures, kind: str, missing: NDArray[np.bool_], writer: FileWriter) -> None:
    actor = chunk.reel.actor
    contents = chunk.contents(kind)
    for row, content in zip(chunk.rows, contents, strict=True):
        if missing[row]:
            path = actor.frame_file(kind, chunk.reel.frame(row))
            (writer.png if KINDS[kind] == ".png" else writer.numbers)(path, content)


def _mask_before(
    reel: ActorVideo, row: int, previous: NDArray[np.bool_] | None
) -> NDArray[np.bool_] | None:
    """The mask of the row before, where an earlier run has written it."""
    path = reel.actor.frame_file("masks", reel.frame(row) - 1)
    if previous is not None or row == 0 or not path.is_file():
        return previous
    return read_mask(path)


class _Footage:
    """Reads a reel's frames once, in order, and cuts out the crops that are asked for."""

    def __init__(
        self,
        reel: ActorVideo,
        pixels: NDArray[np.bool_],
        full: NDArray[np.bool_] | None,
        writer: FileWriter,
    ) -> None:
        self._reel, self._pixels, self._full, self._writer = reel, pixels, full, writer
        self._crops: Iterator[NDArray[np.uint8]] | None = None

    def crops(self, rows: NDArray[np.int64]) -> list[NDArray[np.uint8]] | None:
        """Crops (256, 256, 3) of rows that follow those asked for before; None without pixels."""
        if not self._pixels[rows].any():
            return None
        if self._crops is None:
            from preprocessing.ahead import ahead

            self._crops = ahead(self._cut())
        found = list(islice(self._crops, len(rows)))
        if len(found) < len(rows):
            raise InputError(
                f"{quoted(self._reel.video)} ended before frame {int(rows[-1])}; "
                "it changed while it was in use, start again"
            )
        return found

    def _cut(self) -> Iterator[NDArray[np.uint8]]:
        from preprocessing.boxes import cut

        reel = self._reel
        for frame in reel.clip.frames():
            if frame.index >= reel.kept:
                return
            if self._pixels[frame.index]:
                image = frame.rgb()
                if self._full is not None and self._full[frame.index]:
                    path = reel.actor.frame_file("full_frames", reel.frame(frame.index))
                    self._writer.png(path, image)
                yield cut(image, reel.boxes[frame.index])


def _summary(
    actor: Actor, reels: Sequence[ActorVideo], options: PreprocessOptions, unchanged: bool
) -> str:
    frames = sum(reel.kept for reel in reels)
    left_out = sum(len(reel) for reel in reels) - frames
    videos = f"{len(reels)} video{'s' * (len(reels) != 1)}"
    what = "is up to date" if unchanged else "is ready"
    line = f"{actor.folder} {what} for {options.mode}: {frames} frames of {videos}"
    if left_out:
        line += f", {left_out} at the end left out (shorter than a sequence of {options.split})"
    unseen = sum(int((~reel.track.present[: reel.kept]).sum()) for reel in reels)
    if unseen:
        line += f", {unseen} of them without a face (the frame before is held)"
    return line
