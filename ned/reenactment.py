"""Reenactment: filmed frames rendered from other frames of the same clip, and how near they come.

For renderers that move filmed pixels, a frame rendered from itself would be perfect. So each one is
rendered from another: that one's pixels are brought to where the face lies, and the renderer is
asked for the rest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from deca.rig import Rig, load_rig
from evaluation.likeness import Likeness
from ned.core import similarity
from ned.core.actor import Actor
from ned.core.clip import Clip, Frame
from ned.core.errors import InputError
from ned.core.frame_files import read_numbers
from ned.core.imaging import read_image, read_mask
from ned.core.performance import Performance
from ned.core.picture import Plane, Planes
from ned.core.progress import SILENT, Progress
from ned.core.source import quoted
from ned.inputs import read_boxes, video_starts
from ned.rendering import EditPlanes, in_planes
from renderer.anchors import steady_landmarks
from renderer.dataset import Faces
from renderer.shading import Shading
from renderer.warp import FaceEdit

APART = 0.4  # seconds that source and target lie apart, where the footage has them

# Gives, of a frame, its performance, its own row and another row: that row's face, with the
# frame's pixels.
Move = Callable[[Frame, Performance, int, int], Frame]


def reenact(
    actor: Actor, frames: Sequence[int], move: Move, seed: int = 0, progress: Progress = SILENT
) -> dict[str, float]:
    """How near an actor's frames come that are made from each other, as `Likeness.scores`.

    Each frame is made from one that lies at least APART from it, drawn at random. Flicker is
    measured apart from that, on all frames made from one and the same: with a new source for each
    frame it would tell of the sources.

    Args:
        actor: preprocessed in test mode, with the rig.
        frames: numbers of frames that no network has seen in training.
        seed: of what is drawn at random.

    Raises:
        InputError: There are fewer than two such frames in every video, or the actor is not
            preprocessed so.
    """
    random, faces = np.random.default_rng(seed), Faces.open(actor)
    mixed, still = Likeness(), Likeness()
    count = 0
    for video in actor.videos:
        first, length = video_starts(actor)[video.stem]
        performance = Performance.load(actor.codes_file(video))
        rows = [frame - first for frame in frames if 0 <= frame - first < length]
        rows = [row for row in rows if performance.track.present[row]]
        if len(rows) < 2:
            continue
        take = _Take(actor, faces, Clip.open(video), performance, first, rows)
        middle = rows[len(rows) // 2]
        with progress.stage("reenacting", len(rows)) as step:
            for row, source in zip(rows, sources(performance.times[rows], random), strict=True):
                take.compare(mixed, move, rows[source], row, False)
                take.compare(still, move, middle, row, row - 1 in rows)
                step(1)
        count += len(rows)
    if not count:
        raise InputError(
            f"{quoted(actor.folder)} has {len(frames)} frames to make from each other; two or more "
            "of one video, with a face, are needed"
        )
    return {**mixed.scores(), "flicker": still.scores()["flicker"]}


def sources(times: NDArray[np.float64], random: np.random.Generator) -> list[int]:
    """For every time, the index of another one at least APART from it; else of the farthest."""
    chosen = []
    for time in times:
        apart = np.abs(times - time)
        far = np.flatnonzero(apart >= APART)
        chosen.append(int(random.choice(far)) if len(far) else int(apart.argmax()))
    return chosen


def moved_by(edit_planes: EditPlanes, rig: Rig | None = None) -> Move:
    """A move by a renderer that edits planes, such as `WarpRenderer().render`.

    The frame is first turned, scaled and shifted as a whole, so that the faces meet as well as they
    can; the renderer moves the mesh's points the rest of the way, and shades what changes.
    """
    rig = rig or load_rig()
    draw, folds = in_planes(edit_planes), Shading(rig)

    def move(frame: Frame, performance: Performance, source: int, target: int) -> Frame:
        have = steady_landmarks(performance.track, source, source + 1)[0]
        want = steady_landmarks(performance.track, target, target + 1)[0, :468, :2]
        place = similarity.fit_similarity(have[:468, :2], want)
        points = have.copy()
        points[:, :2] = similarity.apply(place, have[:, :2])
        turn = np.eye(3)
        turn[:2, :2] = place[:, :2] / similarity.scale_of(place)
        turn = turn * np.outer([1, -1, 1], [1, -1, 1])  # a head's y points up
        rotation = (turn @ performance.rotation[source]).astype(np.float32)
        change = performance.units[target] - performance.units[source]
        edit = FaceEdit(points, rotation, want - points[:468, :2], folds.texture(change))
        return draw(frame.with_planes(_placed(frame.planes, place)), edit)

    return move


def _placed(planes: Planes, place: NDArray[np.float64]) -> Planes:
    """Planes seen through a map (2, 3) of luma pixels, centres at .5; edges go on outside."""
    height, width = planes[0].shape

    def placed(plane: Plane) -> Plane:
        scale = np.diag([plane.shape[1] / width, plane.shape[0] / height, 1.0])
        centre = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        whole = np.linalg.inv(centre) @ scale @ similarity.homogeneous(place)
        whole = whole @ np.linalg.inv(scale) @ centre
        size = (plane.shape[1], plane.shape[0])
        flags, edge = cv2.INTER_CUBIC, cv2.BORDER_REPLICATE
        moved = cv2.warpAffine(plane, whole[:2], size, flags=flags, borderMode=edge)
        return np.minimum(moved, 1023) if moved.dtype == np.uint16 else moved  # type: ignore

    first, second, third = (placed(plane) for plane in planes)
    return first, second, third


class _Take:
    """Some rows of one video, in memory, and what they are compared with."""

    def __init__(
        self,
        actor: Actor,
        faces: Faces,
        clip: Clip,
        performance: Performance,
        first: int,
        rows: Sequence[int],
    ) -> None:
        self._actor, self._faces, self._performance = actor, faces, performance
        self._first, self._boxes = first, read_boxes(actor.boxes_file(clip.path))
        wanted = set(rows)
        self._frames = {f.index: _owned(f) for f in clip.frames() if f.index in wanted}

    def compare(self, likeness: Likeness, move: Move, source: int, row: int, follows: bool) -> None:
        """Make a row of another one, align it as the filmed one was, and compare."""
        from preprocessing.align import align_face
        from preprocessing.boxes import cut

        number = self._first + row
        made = move(self._frames[source], self._performance, source, row)
        mask = read_mask(self._actor.frame_file("masks", number))
        crop = cut(made.rgb(), self._boxes[row]) * mask[..., None]
        transform = read_numbers(self._actor.frame_file("align_transforms", number), 3, 2)
        aligned, seen = align_face(crop, mask, transform)
        filmed = read_image(self._actor.frame_file("faces_aligned", number))
        likeness.add(aligned, filmed, seen, self._faces.mouth(number), follows)


def _owned(frame: Frame) -> Frame:
    """The frame with samples of its own: a decoder uses its memory again."""
    y, u, v = (plane.copy() for plane in frame.planes)
    return dataclasses.replace(frame, planes=(y, u, v), picture=None)
