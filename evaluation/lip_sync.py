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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evaluation.estimate import estimate
from evaluation.metric import Metric, Score, Skip
from evaluation.mfcc import RATE, mfcc
from ned.core.assets import require_asset
from ned.core.checkpoint import load_strict, load_weights, require_torch

if TYPE_CHECKING:
    from evaluation.syncnet import SyncNet

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

PICTURE_RATE = 25.0  # per second
_SHIFTS = 15
_ROWS = 4  # of MFCC per picture
_WINDOW, _SOUND_WINDOW, _SIDE = 5, 20, 224
_LEAST_WINDOWS = 2 * _SHIFTS + 1
_CHUNK = 8  # windows of pictures embedded at once
_MARGIN = 0.4  # around the face's box, as SyncNet's preparation adds
_MEDIAN = 13  # frames
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

    def measure(
        self, pictures: Iterable[NDArray[np.uint8]], samples: NDArray[np.floating]
    ) -> Sync | None:
        """Compare lips and sound of one clip.

        Args:
            pictures: (224, 224, 3) uint8 RGB faces, 25 per second (`steps`, `windows`, `crop`).
            samples: (S,) mono sound at 16 kHz from the first picture on, full scale 1 (`aligned`).

        Returns:
            None of less than about 1.4 s of pictures or sound.
        """
        faces = self.embed_faces(pictures)
        sounds = self.embed_sounds(samples)
        count = min(len(faces) - 1, len(sounds))  # the published evaluation leaves the last out
        if count < _LEAST_WINDOWS:
            return None
        return Sync(sync_distances(faces[:count], sounds[:count]))

    def embed_faces(self, pictures: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(T - 4, 1024) of T pictures, a few at a time."""
        import torch

        parts = [np.zeros((0, 0), np.float32)]
        with torch.inference_mode():
            for chunk in _chunks(pictures):
                levels = np.stack(chunk)[..., ::-1].transpose(3, 0, 1, 2)  # BGR, (3, T, H, W)
                given = torch.from_numpy(np.ascontiguousarray(levels)).float()[None]
                parts.append(self._network.embed_faces(given).numpy())
        return np.concatenate(parts[1:]) if len(parts) > 1 else parts[0]

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


def load_lip_sync() -> LipSync:
    """SyncNet with the weights of the asset `syncnet`.

    Raises:
        AssetError: Weights are missing or do not fit. InputError: They cannot be read, or torch is
            not installed.
    """
    path = require_asset("syncnet")
    require_torch("lip sync by SyncNet")
    from evaluation.syncnet import SyncNet

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
        return [], [Skip(names, "SyncNet needs 1.4 s of faces with sound")]
    rows = result.distances
    scores = [
        estimate(names[0], rows, _least, block),
        estimate(names[1], rows, _confidence, block),
        Score(names[2], float(result.offset), count=len(rows)),
    ]
    if source is None:
        return scores, [Skip(names[3:], "the source has no 1.4 s of faces with sound")]
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
    get silence before them, or lose their beginning."""
    shift = round(start * RATE)
    if shift < 0:
        return samples[-shift:]
    return np.concatenate([np.zeros(shift, samples.dtype), samples])


def _chunks(pictures: Iterable[NDArray[np.uint8]]) -> Iterator[list[NDArray[np.uint8]]]:
    """Overlapping runs that hold every window of five once."""
    held: list[NDArray[np.uint8]] = []
    for picture in pictures:
        held.append(picture)
        if len(held) == _CHUNK + _WINDOW - 1:
            yield held
            held = held[_CHUNK:]
    if len(held) >= _WINDOW:
        yield held


def _least(samples: NDArray[np.floating]) -> NDArray[np.float64]:
    """(R, N, 31) -> (R,) LSE-D."""
    return samples.mean(1, dtype=np.float64).min(1)


def _confidence(samples: NDArray[np.floating]) -> NDArray[np.float64]:
    """(R, N, 31) -> (R,) LSE-C."""
    means = samples.mean(1, dtype=np.float64)
    return np.median(means, axis=1) - means.min(1)
