"""Dataset: aligned faces of an actor and their conditioning, as the neural renderer sees them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.errors import InputError, quoted
from ned.core.files.actor import Actor
from ned.core.files.frame_files import read_numbers
from ned.core.film.image_files import read_image, read_mask
from preprocessing.eye_sketch import (
    EYE_POINTS,
    LEFT_EYE,
    RIGHT_EYE,
    disturbed_eyes,
    draw_eye_sketch,
)

SIZE = 256  # pixels of a side
SEQUENCE = 50  # frames per sequence of footage, as NED cuts it
_MOUTH = slice(14, 34)  # rows of an eye file that hold the mouth, where it does
_MOUTH_BELOW = 1.05  # of a mouth below its eyes, in distances of the eyes' middles
_SHIFT, _GROWTH = 0.01, 0.01  # most by which training moves and scales a conditioning picture
_DRAWN = ("nmfcs_aligned", "shapes_aligned", "eye_landmarks_aligned")


@dataclass(frozen=True, eq=False)
class Faces:
    """Aligned files of one actor.

    Attributes:
        size: side in pixels of the pictures given out; a multiple of 8. side: that of the files.
        faces, masks, nmfcs, shapes, eyes: files by frame number; faces may be empty.
        starts: frames with which another video begins, or another sequence of training footage.
    """

    size: int
    side: int
    faces: Mapping[int, Path]
    masks: Mapping[int, Path]
    nmfcs: Mapping[int, Path]
    shapes: Mapping[int, Path]
    eyes: Mapping[int, Path]
    starts: frozenset[int] = frozenset()

    @classmethod
    def open(
        cls, actor: Actor, experiment: Actor | None = None, size: int = SIZE, filmed: bool = True
    ) -> Faces:
        """The frames of an actor that have everything.

        Args:
            experiment: whose conditioning is used; the actor's own if None.
            filmed: False if the faces themselves are not needed.

        Raises:
            InputError: A folder is missing or empty, or no frame has everything.
        """
        drawn = experiment or actor
        found = {kind: drawn.frames(kind) for kind in _DRAWN}
        found["masks_aligned"] = actor.frames("masks_aligned")
        if filmed:
            found["faces_aligned"] = actor.frames("faces_aligned")
        for kind, files in found.items():
            if not files:
                owner = drawn if kind in _DRAWN else actor
                raise InputError(
                    f"{quoted(owner.folder_of(kind))} holds no frames; run ./preprocess.sh "
                    f"{owner.folder} with mode train or test first"
                )
        frames = sorted(set.intersection(*(set(files) for files in found.values())))
        if not frames:
            raise InputError(
                f"no frame of {quoted(drawn.folder)} has all of {', '.join(sorted(found))}"
            )
        own = {kind: {frame: files[frame] for frame in frames} for kind, files in found.items()}
        first = own["masks_aligned"][frames[0]]
        return cls(
            size=size,
            side=_side(read_mask(first), first),
            faces=own.get("faces_aligned", {}),
            masks=own["masks_aligned"],
            nmfcs=own["nmfcs_aligned"],
            shapes=own["shapes_aligned"],
            eyes=own["eye_landmarks_aligned"],
            starts=_starts(actor, frames),
        )

    @property
    def frames(self) -> list[int]:
        """The numbers of the frames, in order."""
        return list(self.masks)

    def runs(self, frames: Sequence[int] | None = None) -> list[list[int]]:
        """Frames (all, or some in order) that follow each other in one video."""
        cut: list[list[int]] = []
        for frame in self.frames if frames is None else frames:
            if not cut or frame != cut[-1][-1] + 1 or frame in self.starts:
                cut.append([])
            cut[-1].append(frame)
        return cut

    def conditioning(
        self, frame: int, random: np.random.Generator | None = None
    ) -> NDArray[np.uint8]:
        """(10, size, size): NMFC, eyes and shape (RGB each), mask (0 or 255).

        Args:
            random: for training: moves the eyes apart and every picture a little.
        """
        mask = read_mask(self.masks[frame])
        self._check(mask, self.masks[frame])
        nmfc, shape = (self._read(files[frame]) for files in (self.nmfcs, self.shapes))
        return conditioning(nmfc, shape, self._eyes(frame), mask, self.size, random)

    def face(self, frame: int) -> NDArray[np.uint8]:
        """(3, size, size) the filmed face, black off its mask."""
        return np.ascontiguousarray(np.moveaxis(self._picture(self.faces[frame]), 2, 0))

    def mouth(self, frame: int) -> NDArray[np.int64]:
        """(2,) x, y of the middle of the mouth in pixels of the given size.

        Files of test footage hold no mouth; there it is put where it lies below upright eyes.
        """
        points = self._eyes(frame)
        if len(points) >= _MOUTH.stop:
            centre = np.median(points[_MOUTH].astype(np.int64), axis=0)
        else:
            left, right = points[LEFT_EYE].mean(0), points[RIGHT_EYE].mean(0)
            apart = right - left
            centre = (left + right) / 2 + _MOUTH_BELOW * np.array([-apart[1], apart[0]])
        return (centre * (self.size / self.side)).astype(np.int64)

    def between_eyes(self, frame: int) -> NDArray[np.int64]:
        """(2,) x, y of the middle of both eyes in pixels of the given size."""
        middle = self._eyes(frame)[: RIGHT_EYE.stop].mean(0)
        return (middle * (self.size / self.side)).astype(np.int64)

    def _eyes(self, frame: int) -> NDArray[np.float64]:
        points = read_numbers(self.eyes[frame], 2)
        if len(points) < EYE_POINTS:
            raise InputError(
                f"{quoted(self.eyes[frame])} holds {len(points)} points, {EYE_POINTS} are needed"
            )
        return points

    def _check(self, image: NDArray[np.uint8] | NDArray[np.bool_], path: Path) -> None:
        if _side(image, path) != self.side:
            raise InputError(
                f"{quoted(path)} has a side of {len(image)} pixels, other pictures of the actor "
                f"{self.side}; preprocess the actor again"
            )

    def _read(self, path: Path) -> NDArray[np.uint8]:
        image = read_image(path)
        self._check(image, path)
        return image

    def _picture(self, path: Path) -> NDArray[np.uint8]:
        return _resized(self._read(path), self.size)


def conditioning(
    nmfc: NDArray[np.uint8],
    shape: NDArray[np.uint8],
    eyes: NDArray[np.floating],
    mask: NDArray[np.bool_],
    size: int = SIZE,
    random: np.random.Generator | None = None,
) -> NDArray[np.uint8]:
    """(10, size, size): NMFC, eyes and shape (RGB each), mask (0 or 255).

    Args:
        nmfc, shape: (S, S, 3). eyes: (14 or more, 2) lids and pupils in pixels of these.
        mask: (S, S).
        random: for training: moves the eyes apart and every picture a little.
    """
    points = eyes * (size / len(mask))
    if random is not None:
        points = disturbed_eyes(points, random.standard_normal(3))
    sketch = draw_eye_sketch(points, size)
    drawn = [_resized(nmfc, size), sketch, _resized(shape, size)]
    if random is not None:
        drawn = [_moved(picture, random) for picture in drawn]
    flat = np.where(mask, np.uint8(255), np.uint8(0))
    if len(flat) != size:
        flat = cv2.resize(flat, (size, size), interpolation=cv2.INTER_NEAREST)
    whole = np.concatenate([*drawn, flat[..., None]], axis=2)
    return np.ascontiguousarray(np.moveaxis(whole, 2, 0))


def mouth_corner(centre: NDArray[np.integer], roi: int, size: int) -> tuple[int, int]:
    """Row and column of the first pixel of the square of `roi` pixels around a point (x, y).

    It is moved into the picture where it would stick out.
    """
    x, y = (min(max(int(value), roi // 2), size - roi // 2) for value in centre)
    return y - roi // 2, x - roi // 2


def sequences(runs: Sequence[Sequence[int]], length: int = SEQUENCE) -> list[list[int]]:
    """Runs cut into sequences of a length; a shorter rest goes with the sequence before it."""
    cut = []
    for run in runs:
        count = max(1, len(run) // length)
        ends = [length * k for k in range(count)] + [len(run)]
        cut += [list(run[start:stop]) for start, stop in itertools.pairwise(ends)]
    return cut


def _starts(actor: Actor, frames: Sequence[int]) -> frozenset[int]:
    """The first frames of videos, or of sequences; none where no boxes tell of videos."""
    if actor.split is not None:
        return frozenset(frame for frame in frames if frame % actor.split == 0)
    try:
        counts = [_line_count(actor.boxes_file(video)) - 1 for video in actor.videos]
    except (InputError, OSError):
        return frozenset()
    return frozenset(itertools.accumulate(counts))


def _line_count(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def _side(image: NDArray[np.uint8] | NDArray[np.bool_], path: Path) -> int:
    if image.shape[0] != image.shape[1]:
        raise InputError(
            f"{quoted(path)} is {image.shape[1]} x {image.shape[0]} pixels; aligned pictures are "
            "square"
        )
    return image.shape[0]


def _resized(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    if len(image) == size:
        return image
    from PIL import Image

    picture = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    return np.array(picture)


def _moved(picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    size = len(picture)
    grown = random.uniform(1 - _GROWTH, 1 + _GROWTH)
    shift = random.uniform(-_SHIFT, _SHIFT, 2) * size
    middle = (size - 1) / 2
    offset = middle - grown * middle + shift
    moved = np.array([[grown, 0, offset[0]], [0, grown, offset[1]]])
    return cv2.warpAffine(picture, moved, (size, size), flags=cv2.INTER_LINEAR)
