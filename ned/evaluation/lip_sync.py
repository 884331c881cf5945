"""Lip sync: how well lips fit the sound, by SyncNet (LSE-D, LSE-C); needs weights (`ned assets`).

After Prajwal et al., "A Lip Sync Expert Is All You Need" (Wav2Lip, ACM Multimedia 2020): pictures
of the face at 25 per second, in windows of five, and the sound of the same 0.2 s are embedded by
SyncNet; the distance of every picture window to the sounds up to 15 pictures earlier and later is
averaged over the clip. LSE-D is the smallest of these 31 means, LSE-C their median less the
smallest.

Two things differ from the published figures' pipeline and may shift values: faces are cut out
around the tracked mesh instead of a detector's (S3FD) boxes, and medians over time repeat the ends
instead of adding zeros. Compare with values from this program, not with tables of papers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ned.core.files.assets import require_asset
from ned.core.files.checkpoint import load_strict, load_weights, require_torch
from ned.evaluation.estimate import estimate
from ned.evaluation.metric import Metric, Score, Skip
from ned.evaluation.mfcc import RATE, mfcc

if TYPE_CHECKING:
    from ned.evaluation.syncnet import SyncNet

_SOURCE = "Prajwal et al., Wav2Lip (ACM MM 2020), with SyncNet of Chung & Zisserman (2016)"

METRICS = (
    Metric(
        "speech.lse_d", "lip sync distance (LSE-D)", "", "lower", (0, math.inf), None,
        "Smallest mean distance of SyncNet's embeddings of lips and sound over shifts of up to 15 "
        "frames, at 25 frames per second. Footage as recorded gives about 6 to 8.",
        _SOURCE,
    ),
    Metric(
        "speech.lse_c", "lip sync confidence (LSE-C)", "", "higher", (0, math.inf), None,
        "Median of the same 31 mean distances less the smallest.",
        _SOURCE,
    ),
    Metric(
        "speech.sync_offset", "lip sync offset", "frames of 1/25 s", "near zero", (-15, 15), 0.0,
        "The shift at which that distance is smallest; positive: the sound is early (SyncNet's "
        "sign). Footage as recorded gives 0 where picture and sound were in step.",
        "Chung & Zisserman, 'Out of time' (2016)",
    ),
    Metric(
        "speech.lse_d_change", "change of LSE-D", "", "lower", (-math.inf, math.inf), 0.0,
        "LSE-D of the result less that of its source.",
        _SOURCE,
    ),
    Metric(
        "speech.lse_c_change", "change of LSE-C", "", "higher", (-math.inf, math.inf), 0.0,
        "LSE-C of the result less that of its source.",
        _SOURCE,
    ),
)  # fmt: skip

_TOO_LITTLE = "{} shows less than 1.4 s of a face with sound, or the face in too few frames"
PICTURE_RATE = 25.0  # per second
_SHIFTS = 15
_ROWS = 4  # of MFCC per picture
_WINDOW, _SOUND_WINDOW, _SIDE = 5, 20, 224
_LEAST_WINDOWS = 2 * _SHIFTS + 1
_CHUNK = 8  # windows of pictures embedded at once
_MARGIN = 0.4  # around the face's box, as SyncNet's preparation adds
_MEDIAN = 13  # frames
_LEAST_SEEN = 0.8  # share of frames with the face
_FURTHEST = 3600.0  # seconds
_OUTSIDE = 110  # grey level beyond the picture
_SMALLEST = 1e-6


@dataclass(frozen=True)
class Sync:
    """Distances of lips and sound in one clip.

    Attributes:
        distances: (N, 31) float32 of every window of pictures to the sound 15 pictures earlier,
            ..., 15 later; beyond the clip's ends the sound's embedding is zero.
    """

    distances: NDArray[np.float32]

    @property
    def distance(self) -> float:
        """LSE-D."""
        return float(_least(self.distances[None])[0])

    @property
    def confidence(self) -> float:
        """LSE-C."""
        return float(_confidence(self.distances[None])[0])

    @property
    def offset(self) -> int:
        """Shift of the smallest mean distance in pictures; positive: the sound is early."""
        return _SHIFTS - int(self.distances.mean(0).argmin())


class LipSync:
    """SyncNet with its weights; make it with `load_lip_sync`."""

    def __init__(self, network: SyncNet) -> None:
        self._network = network.eval()

    def begin(self, times: NDArray[np.floating], points: NDArray[np.floating]) -> FaceSequence:
        """Begin with a clip, whose frames then pass one by one.

        Args:
            times: (T,) presentation times in seconds. points: (T, 478, 2) pixels of the face, NaN
                where it is not seen.
        """
        return FaceSequence(self, times, points)

    def embed_faces(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(T - 4, 1024) of T faces (224, 224, 3) uint8 RGB, 25 per second."""
        import torch

        if len(pictures) < _WINDOW:
            return np.zeros((0, 0), np.float32)
        levels = np.stack(pictures)[..., ::-1].transpose(3, 0, 1, 2)  # BGR, (3, T, 224, 224)
        with torch.inference_mode():
            given = torch.from_numpy(np.ascontiguousarray(levels)).float()[None]
            return self._network.embed_faces(given).numpy()

    def embed_sounds(self, samples: NDArray[np.floating]) -> NDArray[np.float32]:
        """(P - 5, 1024) of the 0.2 s from each picture on, for sound of P pictures' length."""
        import torch

        count = len(samples) // (RATE // int(PICTURE_RATE)) - _WINDOW
        if count < 1:
            return np.zeros((0, 0), np.float32)
        starts = np.arange(count) * _ROWS
        windows = mfcc(samples)[starts[:, None] + np.arange(_SOUND_WINDOW)]
        windows = windows.transpose(0, 2, 1)[:, None]
        with torch.inference_mode():
            given = torch.from_numpy(np.ascontiguousarray(windows))
            parts = [self._network.embed_sounds(part).numpy() for part in given.split(64)]
        return np.concatenate(parts)


class FaceSequence:
    """The faces of one clip on their way through the network; make it with `LipSync.begin`."""

    def __init__(
        self, lips: LipSync, times: NDArray[np.floating], points: NDArray[np.floating]
    ) -> None:
        self._lips = lips
        seen = np.isfinite(points).all((1, 2))
        self._usable = bool(len(seen)) and float(seen.mean()) >= _LEAST_SEEN
        self._windows = windows(points) if self._usable else np.zeros((0, 3))
        self._shown = np.bincount(steps(times[: len(points)])) if self._usable else np.zeros(0, int)
        self._held: list[NDArray[np.uint8]] = []
        self._embedded: list[NDArray[np.float32]] = []

    def add(self, index: int, image: NDArray[np.uint8]) -> None:
        """Take frame `index`, (H, W, 3) uint8 RGB; frames come in order."""
        if index >= len(self._shown) or not self._shown[index]:
            return
        picture = crop(image, self._windows[index])
        for _ in range(self._shown[index]):
            self._held.append(picture)
            if len(self._held) == _CHUNK + _WINDOW - 1:
                self._embed()

    def sync(self, samples: NDArray[np.floating]) -> Sync | None:
        """Compare the faces with the clip's sound; call it once, after the last frame.

        Args:
            samples: (S,) mono sound at 16 kHz from the first frame on, full scale 1 (`aligned`).

        Returns:
            None if there is less than about 1.4 s of pictures or sound, or the face is seen in
            less than 80 % of the frames.
        """
        if len(self._held) >= _WINDOW:
            self._embed()
        sounds = self._lips.embed_sounds(samples)
        faces = np.concatenate(self._embedded) if self._embedded else np.zeros((0, 0), np.float32)
        count = min(len(faces) - 1, len(sounds))  # the published evaluation leaves the last out
        if count < _LEAST_WINDOWS:
            return None
        return Sync(sync_distances(faces[:count], sounds[:count]))

    def _embed(self) -> None:
        self._embedded.append(self._lips.embed_faces(self._held))
        self._held = self._held[-_WINDOW + 1 :]


def load_lip_sync() -> LipSync:
    """SyncNet with the weights of the asset `syncnet`.

    Raises:
        AssetError: Weights are missing or do not fit. InputError: They cannot be read, or torch is
            not installed.
    """
    path = require_asset("syncnet")
    require_torch("lip sync by SyncNet")
    from ned.evaluation.syncnet import SyncNet

    network = SyncNet()
    state = load_weights(path)
    for key, value in network.state_dict().items():
        if key.endswith(".num_batches_tracked"):
            state.setdefault(key, value)  # written by later versions of torch only
    load_strict(network, state, path)
    return LipSync(network)


def sync_distances(
    faces: NDArray[np.floating], sounds: NDArray[np.floating]
) -> NDArray[np.float32]:
    """(N, 31) Euclidean distances of (N, K) faces to sounds shifted by -15 to 15 rows."""
    padded = np.pad(sounds.astype(np.float64), ((_SHIFTS, _SHIFTS), (0, 0)))
    columns = [
        np.linalg.norm(faces - padded[k : k + len(faces)] + _SMALLEST, axis=1)
        for k in range(2 * _SHIFTS + 1)
    ]
    return np.stack(columns, 1).astype(np.float32)


def lip_sync_scores(
    result: Sync | None, source: Sync | None, block: int = 12
) -> tuple[list[Score], list[Skip]]:
    """LSE-D, LSE-C and offset of the result, and their change from the source.

    Args:
        result, source: None where a clip is too short. block: windows drawn together, in 1/25 s.
    """
    names = tuple(metric.name for metric in METRICS)
    if result is None:
        return [], [Skip(names, _TOO_LITTLE.format("the result"))]
    rows = result.distances
    scores = [
        estimate(names[0], rows, _least, block),
        estimate(names[1], rows, _confidence, block),
        Score(names[2], float(result.offset), count=len(rows)),
    ]
    if source is None:
        return scores, [Skip(names[3:], _TOO_LITTLE.format("the source"))]
    scores += [
        Score(names[3], result.distance - source.distance, count=len(rows)),
        Score(names[4], result.confidence - source.confidence, count=len(rows)),
    ]
    return scores, []


def steps(times: NDArray[np.floating]) -> NDArray[np.int64]:
    """Which frame is shown at 0, 1/25, 2/25 ... seconds after the first.

    Args:
        times: (T,) rising presentation times in seconds.

    Returns:
        (N,) frame numbers for as long as the last frame begins; the latest frame that has begun.
    """
    shown = np.asarray(times, np.float64) - times[0]
    count = 1 + math.floor(shown[-1] * PICTURE_RATE + 1e-6)
    moments = np.arange(count) / PICTURE_RATE
    return np.searchsorted(shown, moments + 1e-6, side="right") - 1


def windows(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Where the face is in every frame, calm enough for a network of mouths.

    Args:
        points: (T, 478, 2) pixels, NaN in frames without the face; at least one with it.

    Returns:
        (T, 3): centre x, y and half side of the box of the mesh; gaps bridged linearly, medians of
        13 frames.

    Raises:
        ValueError: No frame shows the face.
    """
    from scipy.ndimage import median_filter

    low, high = points.min(1), points.max(1)
    boxes = np.concatenate([(low + high) / 2, (high - low).max(1, keepdims=True) / 2], axis=1)
    known = np.flatnonzero(np.isfinite(boxes).all(1))
    if not len(known):
        raise ValueError("no frame shows the face")
    frames = np.arange(len(boxes))
    filled = np.stack([np.interp(frames, known, column[known]) for column in boxes.T], axis=1)
    return np.asarray(median_filter(filled, size=(_MEDIAN, 1), mode="nearest"))


def crop(image: NDArray[np.uint8], window: NDArray[np.floating]) -> NDArray[np.uint8]:
    """(224, 224, 3) of an (H, W, 3) picture: the face's box grown by 40 % to the sides and 80 %
    below, as SyncNet's preparation does; grey outside the picture.

    Args:
        window: (3,) centre x, y and half side, as `windows` gives.
    """
    import cv2

    x, y, half = (float(value) for value in window)
    side = max(1, int((2 + 2 * _MARGIN) * half))
    left, top = math.floor(x - half * (1 + _MARGIN)), math.floor(y - half)
    square = np.full((side, side, 3), _OUTSIDE, np.uint8)
    height, width = image.shape[:2]
    rows, columns = (
        slice(min(max(0, -start), side), max(0, min(side, limit - start)))
        for start, limit in ((top, height), (left, width))
    )
    if rows.start < rows.stop and columns.start < columns.stop:
        square[rows, columns] = image[
            top + rows.start : top + rows.stop, left + columns.start : left + columns.stop
        ]
    return np.asarray(cv2.resize(square, (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR))


def aligned(samples: NDArray[np.floating], start: float) -> NDArray[np.floating]:
    """Sound from the first picture on: (S,) samples at 16 kHz that begin `start` seconds after it
    get silence before them, or lose their beginning; none are left of a beginning that is not a
    number, or more than an hour away: such times are damaged."""
    if not abs(start) <= _FURTHEST:
        return samples[:0]
    shift = round(start * RATE)
    if shift < 0:
        return samples[-shift:]
    return np.concatenate([np.zeros(shift, samples.dtype), samples])


def _least(samples: NDArray[np.floating]) -> NDArray[np.float64]:
    """(R, N, 31) -> (R,) LSE-D."""
    return samples.mean(1, dtype=np.float64).min(1)


def _confidence(samples: NDArray[np.floating]) -> NDArray[np.float64]:
    """(R, N, 31) -> (R,) LSE-C."""
    means = samples.mean(1, dtype=np.float64)
    return np.median(means, axis=1) - means.min(1)
