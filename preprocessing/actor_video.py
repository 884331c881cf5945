"""ActorVideo: one video of an actor, tracked, with its place among the actor's frames."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import InputError, NoFaceError, quoted
from ned.core.face import similarity
from ned.core.face.track import Track
from ned.core.files.actor import KINDS, Actor
from ned.core.files.records import Record, fingerprint
from ned.core.film.clip import Clip
from ned.core.progress import SILENT, Progress

log = logging.getLogger(__name__)

_TRACKING = 1  # version: counts up when the same video gives another track


@dataclass(frozen=True, eq=False)
class ActorVideo:
    """One video of an actor.

    Rows count the video's own frames from 0; frames are numbered over all videos of the actor.

    Attributes:
        actor: whose it is. clip: the video. record: what has been made of it. track: its face.
        first: number of its first frame.
        kept: how many of its rows get files (fewer in a training sequence that is too short).
    """

    actor: Actor
    clip: Clip
    record: Record
    track: Track
    first: int
    kept: int

    def __len__(self) -> int:
        return len(self.track)

    @property
    def video(self) -> Path:
        """The file."""
        return self.clip.path

    @property
    def tracking_hash(self) -> str:
        """Changes with the video's content and the way it is tracked."""
        return self.record.made["track"]

    @cached_property
    def boxes(self) -> NDArray[np.int64]:
        """(T, 4) crop boxes in frame pixels."""
        from preprocessing.boxes import crop_boxes

        return crop_boxes(self.track)

    @cached_property
    def crop_from_frame(self) -> NDArray[np.float64]:
        """(T, 2, 3) maps of frame pixels to crop pixels."""
        from preprocessing.boxes import crop_from_frame

        return crop_from_frame(self.boxes)

    @cached_property
    def seen(self) -> NDArray[np.int64]:
        """(T,) row whose landmarks each row uses: its own, or those held over a gap."""
        from preprocessing.align import held_rows

        return held_rows(self.track.present)

    def mesh(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n, 478, 2) mesh points of some rows in their crops; gaps repeat the row before."""
        used, inverse = np.unique(self.seen[rows], return_inverse=True)
        points = self.track.landmarks(int(used[0]), int(used[-1]) + 1)[used - used[0], :, :2]
        return similarity.apply(self.crop_from_frame[used], points)[inverse]

    def frame(self, row: int) -> int:
        """The number of a row's frame."""
        return self.first + int(row)


def open_reels(actor: Actor, which: int = 0, progress: Progress = SILENT) -> list[ActorVideo]:
    """Track every video of an actor that is new or changed, and number the frames.

    Args:
        actor: the folder, with the layout that is wanted.
        which: the face to follow, 0 for the largest.

    Raises:
        InputError: There is no video, one cannot be read, or one shows no face.
    """
    found = []
    for video in actor.videos:
        record = Record.load(actor.state_file(video, "json"))
        clip = Clip.open(video)
        if clip.is_image:
            raise InputError(f"{quoted(video)} is a picture; footage of the actor is needed")
        found.append((clip, record, _track(actor, clip, record, which, progress)))
    total = sum(len(track) for _, _, track in found)
    kept = actor.kept(total)
    if kept == 0:
        raise InputError(
            f"{quoted(actor.folder)} has {total} frames, fewer than one sequence of {actor.split}; "
            "add footage, or give a smaller --split"
        )
    reels, first = [], 0
    for clip, record, track in found:
        count = min(len(track), max(0, kept - first))
        reels.append(ActorVideo(actor, clip, record, track, first, count))
        first += len(track)
    return reels


def _track(actor: Actor, clip: Clip, record: Record, which: int, progress: Progress) -> Track:
    from preprocessing.track import track_faces

    path = actor.state_file(clip.path, "track.safetensors")
    known = record.source
    wanted = fingerprint(video=record.source_hash(clip.path), version=_TRACKING, actor=which)
    if record.made.get("track") == wanted and "track" in record.done:
        try:
            if record.source is not known:  # touched only; it need not be read again next time
                record.save()
            return Track.load(path)
        except InputError as error:
            log.debug("tracking again: %s", error)
    record.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        tracks = track_faces(clip, progress=progress)
    except NoFaceError as error:
        raise NoFaceError(f"{quoted(clip.path)}: {error}") from error
    if which >= len(tracks):
        count = f"{len(tracks)} actor{'s' * (len(tracks) != 1)}"
        raise InputError(
            f"--actor {which}: {quoted(clip.path.name)} shows {count}, "
            f"give 0 to {len(tracks) - 1} (see `ned info`)"
        )
    track = tracks[which]
    record.begin({"track": wanted})
    track.save(path)
    record.finish({"track"})
    return track


def remove_stale(
    actor: Actor, reels: Sequence[ActorVideo], hashes: Sequence[Mapping[str, str]]
) -> None:
    """Remove the files that were made of something else, and those of videos that have gone.

    Args:
        hashes: per reel, what each wanted kind of file is to be made of now.

    Raises:
        InputError: There are files that no record tells about; they may be somebody's work.
    """
    known = {reel.record.path for reel in reels}
    gone = [
        Record.load(path)
        for path in sorted((actor.folder / ".ned").glob("*.json"))
        if path not in known
    ]
    records = [*(reel.record for reel in reels), *gone]
    for kind in sorted({kind for wanted in hashes for kind in wanted}):
        ours = [range(r.first, r.first + r.count) for r in records if kind in r.made]
        if any(not any(frame in frames for frames in ours) for frame in actor.frames(kind)):
            raise InputError(
                f"{quoted(actor.folder_of(kind))} holds frames that this tool did not write; "
                "move the folder away to have it made anew"
            )
    for record in gone:
        video = Path(record.path.name.removesuffix(".json"))
        if "codes" in record.made:
            actor.performance_file(video).unlink(missing_ok=True)
        if "boxes" in record.made:
            actor.boxes_file(video).unlink(missing_ok=True)
        _remove(actor, record, set(record.made) & set(KINDS))
        actor.state_file(video, "track.safetensors").unlink(missing_ok=True)
        record.path.unlink()
    for reel, wanted in zip(reels, hashes, strict=True):
        record = reel.record
        moved = (record.first, record.count, record.split) != (reel.first, reel.kept, actor.split)
        if record.split != actor.split and set(record.made) & set(KINDS):
            log.warning(
                "%s was prepared in %s before; these files are replaced by %s",
                quoted(reel.video.name),
                _layout(record.split),
                _layout(actor.split),
            )
        stale = {
            kind
            for kind, made in record.made.items()
            if kind in KINDS and (moved or (kind in wanted and wanted[kind] != made))
        }
        _remove(actor, record, stale)
    for reel in reels:
        reel.record.first, reel.record.count = reel.first, reel.kept
        reel.record.split = actor.split
        reel.record.save()


def _remove(actor: Actor, record: Record, kinds: set[str]) -> None:
    old = dataclasses.replace(actor, split=record.split)
    for kind in sorted(kinds):
        for frame in range(record.first, record.first + record.count):
            old.frame_file(kind, frame).unlink(missing_ok=True)
        for folder in (*old.folder_of(kind).glob("*"), old.folder_of(kind)):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    record.drop(kinds)


def _layout(split: int | None) -> str:
    return "one folder of each kind" if split is None else f"sequences of {split} frames"
