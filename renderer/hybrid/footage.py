"""Footage: an actor's filmed faces with everything that a hybrid renderer learns from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deca.rig import Rig
from deca.rig_pictures import RigConditioner
from ned.core.errors import InputError
from ned.core.face.performance import Performance
from renderer.hybrid.face_crops import FaceCrops, cut_all, placed
from renderer.hybrid.memory import ExpressionDescriptors, Memory

CONDITIONING = 5  # channels: NMFC (RGB), pupils, mask
SEEN = 3 + CONDITIONING + 3 + 2  # of what the network sees, see `stacked`
FEWEST = 24  # frames with a face that something can be learnt from
_MOST = 2000  # frames at 256 pixels; longer footage is thinned out
_LIPS = (61, 291, 0, 17)  # corners and middles
_BATCH = 32  # frames whose conditioning is drawn at once
_LARGEST_TURN = (50.0, 40.0)  # degrees of yaw and pitch, beyond which half of a face is hidden
_FLIP = np.array([[1.0, 0, 0], [0, -1.0, 0]])  # head axes to image axes, without depth

Pictures = Iterable[tuple[int, NDArray[np.uint8]]]  # numbered upright RGB frames in order


@dataclass(frozen=True, eq=False)
class Footage:
    """n frames of one actor, of one or several takes, in time order within a take.

    Attributes:
        pictures: (n, S, S, 3) uint8 RGB crops. landmarks: (n, 478, 3) float32 crop pixels.
        conditioning: (n, S, S, 5) uint8, see `CONDITIONING`. descriptors: what faces look like.
        crop_from_head: (n, 2, 3) float32: crop pixels that a displacement in the head moves by.
        take: (n,) number of the take. frame: (n,) frame number there. time: (n,) seconds there.
    """

    pictures: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    conditioning: NDArray[np.uint8]
    descriptors: ExpressionDescriptors
    crop_from_head: NDArray[np.float32]
    take: NDArray[np.int64]
    frame: NDArray[np.int64]
    time: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.pictures)

    @classmethod
    def of(
        cls, takes: Sequence[tuple[Performance, Pictures]], rig: Rig, size: int = 256
    ) -> Footage:
        """Cut the faces out of takes.

        Raises:
            InputError: Too few frames show a face that is not turned away.
        """
        usable = [_usable(performance) for performance, _ in takes]
        total = sum(len(frames) for frames in usable)
        if total < FEWEST:
            raise InputError(
                f"{total} frames show a face that is not turned away; {FEWEST} or more are "
                "needed, and a minute of footage (1500) for a good likeness"
            )
        thinned = -(-total // max(FEWEST, int(_MOST * (256 / size) ** 2)))
        parts = [
            _part(number, performance, pictures, frames[::thinned], rig, size)
            for number, ((performance, pictures), frames) in enumerate(
                zip(takes, usable, strict=True)
            )
            if len(frames)
        ]
        return _joined(parts)

    def __getitem__(self, rows: NDArray[np.integer] | slice) -> Footage:
        return Footage(
            self.pictures[rows],
            self.landmarks[rows],
            self.conditioning[rows],
            self.descriptors[rows],  # type: ignore[index]
            self.crop_from_head[rows],
            self.take[rows],
            self.frame[rows],
            self.time[rows],
        )

    def divided(self, held_out: float) -> tuple[Footage, Footage]:
        """What is learnt from, and the last share of every take, which is not."""
        kept = np.zeros(len(self), bool)
        for number in np.unique(self.take):
            rows = np.flatnonzero(self.take == number)
            kept[rows[: len(rows) - int(held_out * len(rows))]] = True
        return self[np.flatnonzero(kept)], self[np.flatnonzero(~kept)]

    def memory(self, rows: NDArray[np.int64]) -> Memory:
        """Some of the frames, to be found again by what they look like."""
        return Memory(self.pictures[rows], self.landmarks[rows], self.descriptors[rows])


def draw_conditioning(
    conditioner: RigConditioner,
    crops: FaceCrops,
    start: int,
    stop: int,
    units: NDArray[np.floating] | None = None,
) -> NDArray[np.uint8]:
    """(n, S, S, 5) of frames [start, stop); with units (n, U) of an edit, or of the source."""
    transforms = placed(crops.crop_from_image[start:stop])
    drawn = conditioner.draw(start, stop, transforms, units)
    parts = (drawn.nmfc, drawn.sketch[..., :1], drawn.mask[..., None])
    return np.concatenate(parts, axis=-1)


def stacked(
    warped: NDArray[np.uint8], conditioning: NDArray[np.uint8], remembered: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """(S, S, 13) what the network sees, of the three pictures with 4, 5 and 4 channels."""
    parts = [
        warped[..., :3],
        conditioning,
        remembered[..., :3],
        warped[..., 3:],
        remembered[..., 3:],
    ]
    return np.concatenate(parts, axis=-1)


def mouth_middle(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """(2,) x, y of the middle of a mouth, of a face (478, 3)."""
    return landmarks[_LIPS, :2].mean(0)


def _usable(performance: Performance) -> NDArray[np.int64]:
    yaw, pitch = _LARGEST_TURN
    straight = (np.abs(performance.yaw) < yaw) & (np.abs(performance.pitch) < pitch)
    return np.flatnonzero(performance.track.present & straight)


def _part(
    number: int,
    performance: Performance,
    pictures: Pictures,
    frames: NDArray[np.int64],
    rig: Rig,
    size: int,
) -> Footage:
    crops = FaceCrops.of(performance, size)
    conditioner = RigConditioner(performance, rig, size)
    conditioning = np.zeros((len(frames), size, size, CONDITIONING), np.uint8)
    for start in range(0, len(performance), _BATCH):
        stop = min(start + _BATCH, len(performance))
        rows = np.flatnonzero((frames >= start) & (frames < stop))
        if len(rows):
            drawn = draw_conditioning(conditioner, crops, start, stop)
            conditioning[rows] = drawn[frames[rows] - start]
    descriptors = ExpressionDescriptors.of(
        performance.units, performance.gaze, performance.rotation, rig
    )
    return Footage(
        cut_all(crops, pictures, frames),
        crops.landmarks[frames],
        conditioning,
        descriptors[frames],
        crop_from_head(performance, crops)[frames],
        np.full(len(frames), number),
        frames,
        performance.times[frames],
    )


def crop_from_head(performance: Performance, crops: FaceCrops) -> NDArray[np.float32]:
    """(T, 2, 3) crop pixels per face unit along the head's axes."""
    image_from_head = performance.scale[:, None, None] * (_FLIP @ performance.rotation)
    return (crops.crop_from_image[:, :, :2] @ image_from_head).astype(np.float32)


def _joined(parts: Sequence[Footage]) -> Footage:
    def join(name: str) -> NDArray:
        return np.concatenate([getattr(part, name) for part in parts])

    descriptors = ExpressionDescriptors(
        *(
            np.concatenate([getattr(part.descriptors, name) for part in parts])
            for name in ("mouth", "upper", "rotation")
        )
    )
    return Footage(
        join("pictures"),
        join("landmarks"),
        join("conditioning"),
        descriptors,
        join("crop_from_head"),
        join("take"),
        join("frame"),
        join("time"),
    )
