"""Occlusion: frames in which a hand, a card, a flash or black lies over a face that is there.

A face is looked at through a small upright picture of its luma that follows its landmarks. Moves,
words and turns change it little from what it was like a moment ago, or else for longer than a
moment; what comes between the face and the camera changes it much and goes away again.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.face.track import Track
from preprocessing.window import Window

PATCH_SIDE = 16
"""Pixels on a side of a patch."""

_CHUNK = 500  # frames whose landmarks are decoded at once
_REACH = 0.75  # side of a patch relative to the box around the mesh: no hair, no background
_GLIMPSE_SIDE = 40
_WIDE = 2.0  # side of a wide patch relative to that box
_MOMENT = 1.5  # seconds before and after a frame with which it is compared
_BLOCK = 0.25  # seconds of frames that are compared with the same moments
_SAMPLES = 20  # frames at most that stand for a moment
_FEWEST = 3  # frames that a moment must have to say anything
# The most unlike frame of ten clips without occlusions has 0.47 and 0.73; planted hands, cards,
# flashes and black frames have more than 0.8 or less than 0.2.
_UNLIKE, _UNLIKE_EDGE = 0.65, 0.3  # 1 - correlation of an occluded patch; of those beside it
_FLAT, _FLAT_EDGE = 0.3, 0.5  # contrast relative to what is usual; of those beside it
_TURN = 0.6  # unlikeness that a full turn of the head explains
_NOISE = 1.0  # levels of contrast that mean nothing


@dataclass(frozen=True)
class WidePatch:
    """What was seen around the last known place of a face that could not be followed.

    Attributes:
        window: Where in the image. pixels: (40, 40) uint8 luma of it.
    """

    window: Window
    pixels: NDArray[np.uint8]

    @classmethod
    def take(cls, image: NDArray[np.uint8], points: NDArray[np.float32]) -> WidePatch:
        """Look at an RGB image around landmarks (478, 3) in its pixels."""
        window = Window.around(points, scale=_WIDE)
        return cls(window, _luma(image, window, _GLIMPSE_SIDE))

    def patch(self, points: NDArray[np.float32]) -> NDArray[np.uint8]:
        """(16, 16) luma of the face if its landmarks (478, 3) were there."""
        pixels = len(self.pixels)
        image_from_wide = np.vstack([self.window.image_from_crop(), [0, 0, 1]])
        image_from_patch = np.vstack(
            [Window.around(points, scale=_REACH).image_from_crop(), [0, 0, 1]]
        )
        wide_from_patch = (np.linalg.inv(image_from_wide) @ image_from_patch)[:2] * pixels
        return _resampled(self.pixels, wide_from_patch, PATCH_SIDE)


def face_patch(
    image: NDArray[np.uint8], points: NDArray[np.float32], box: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """(16, 16) uint8 luma of the face in an RGB image (H, W, 3).

    Args:
        points: (478, 3) its landmarks in the image's pixels. box: (4,) around them, as Tracks have.
    """
    return _luma(image, Window.over(box, points, _REACH), PATCH_SIDE)


def occluded(
    patches: NDArray[np.uint8], known: NDArray[np.bool_], track: Track
) -> NDArray[np.bool_]:
    """(T,) whether something lies over the face.

    An occluded frame is unlike what the face was in the moment before and what it is in the moment
    after: much less correlated than a face is with itself, or with much less contrast. What stays
    (a new light, a face turned away) is like the moment after, and no occlusion.

    Frames in which the face lies partly beyond the image are not judged.

    Args:
        patches: (T, 16, 16). known: (T,) which of them there are.
        track: Landmarks of the frames that are known; others are compared with those that were
            seen, not interpolated.
    """
    result = np.zeros(len(known), bool)
    frames = np.flatnonzero(known & track.present & _inside(track))
    turns = _turns(track, frames)
    for shot in np.unique(track.shots[frames]):
        chosen = track.shots[frames] == shot
        inside = frames[chosen]
        unlike, contrast = _compare(
            patches[inside].reshape(len(inside), -1).astype(np.float32),
            turns[chosen],
            track.times[inside],
            ~track.interpolated[inside],
        )
        sure = (unlike > _UNLIKE) | (contrast < _FLAT)
        edges = (unlike > _UNLIKE_EDGE) | (contrast < _FLAT_EDGE)
        runs = np.cumsum(np.diff(edges, prepend=edges[:1]))
        result[inside] = edges & np.isin(runs, runs[sure])
    return result


def _inside(track: Track) -> NDArray[np.bool_]:
    """(T,) whether a patch lies inside of the image: beyond it, nothing can be told."""
    low, high = track.boxes[:, :2], track.boxes[:, 2:]
    reach = 0.5 * _REACH * (high - low).max(1, keepdims=True)
    middle = (low + high) / 2
    return ((middle - reach >= 0) & (middle + reach <= track.size)).all(1)


def _compare(
    patches: NDArray[np.float32],
    turns: NDArray[np.float64],
    times: NDArray[np.float64],
    trusted: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How unlike patches (N, 256) of one shot are to the moments around them, and their contrast.

    The moments are those before and after a block of frames; both results (N,) are those of the
    more similar one, 0 and 1 where neither says anything.
    """
    unlike, contrast = np.zeros(len(patches)), np.ones(len(patches))
    blocks = np.floor((times - times[0]) / _BLOCK)
    for block in np.unique(blocks):
        inside = np.flatnonzero(blocks == block)
        first, last = inside[0], inside[-1]
        moments = (
            trusted & (times < times[first]) & (times >= times[first] - _MOMENT),
            trusted & (times > times[last]) & (times <= times[last] + _MOMENT),
        )
        found = [
            _unlike(patches[inside], turns[inside], patches[chosen], turns[chosen])
            for moment in map(np.flatnonzero, moments)
            if len(moment) >= _FEWEST
            for chosen in [moment[:: -(-len(moment) // _SAMPLES)]]
        ]
        if found:
            unlike[inside] = np.min([each[0] for each in found], axis=0)
            contrast[inside] = np.max([each[1] for each in found], axis=0)
    return unlike, contrast


def _unlike(
    patches: NDArray[np.float32],
    turns: NDArray[np.float64],
    others: NDArray[np.float32],
    other_turns: NDArray[np.float64],
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """(n,) unlikeness of patches (n, 256) to the median of others (m, 256); relative contrast."""
    usual = np.median(others, axis=0)
    usual, patches = usual - usual.mean(), patches - patches.mean(1, keepdims=True)
    contrast, usual_contrast = patches.std(1), usual.std()
    correlation = (patches @ usual) / len(usual) / (contrast * usual_contrast + _NOISE)
    explained = _TURN * np.abs(turns - np.median(other_turns))
    return 1 - correlation - explained, (contrast + _NOISE) / (usual_contrast + _NOISE)


def _turns(track: Track, frames: NDArray[np.intp]) -> NDArray[np.float64]:
    """(n,) where a face looks in some frames: -1 and 1 are profiles, 0 the camera."""
    across = np.zeros((len(frames), 3))
    for start in range(0, len(track), _CHUNK):
        inside = (frames >= start) & (frames < start + _CHUNK)
        points = track.landmarks(start, start + _CHUNK)[frames[inside] - start]
        across[inside] = points[:, 454] - points[:, 234]
    return across[:, 2] / (np.linalg.norm(across, axis=1) + 1e-6)


def _luma(image: NDArray[np.uint8], window: Window, pixels: int) -> NDArray[np.uint8]:
    """(pixels, pixels) luma of a window of an RGB image, from four samples a pixel."""
    fine = _resampled(image, window.image_from_crop(), 2 * pixels)
    grey = cv2.cvtColor(fine, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (pixels, pixels), interpolation=cv2.INTER_AREA), np.uint8)


def _resampled(
    image: NDArray[np.uint8], image_from_square: NDArray[np.float64], pixels: int
) -> NDArray[np.uint8]:
    """(pixels, pixels, ...) samples of the unit square's place in an image; its border repeated."""
    image_from_crop = image_from_square.copy()
    # OpenCV's pixel centres are whole numbers.
    image_from_crop[:, :2] /= pixels
    image_from_crop[:, 2] += image_from_crop[:, :2].sum(1) * 0.5 - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(
            image, image_from_crop, (pixels, pixels), flags=flags, borderMode=cv2.BORDER_REPLICATE
        ),
        np.uint8,
    )
