"""Sound: how loud speech is at every moment of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from ned.core.errors import InputError, quoted, reason
from ned.core.film.packets import mute, open_source

_RATE = 16000
_WINDOW = 0.04  # seconds of sound per value
_FLOOR = 1e-3  # of full scale; quieter is silence


@dataclass(frozen=True)
class Sound:
    """The first audio stream of a clip.

    Attributes:
        energy: (N + 1,) running sum of the squared samples, 16 kHz mono, full scale 1.
        start: time of the first sample in seconds after the first video frame.
    """

    energy: NDArray[np.float64]
    start: float

    @classmethod
    def open(cls, path: Path) -> Sound | None:
        """Read a clip's sound; None where it has none.

        Raises:
            InputError: the file cannot be read.
        """
        samples, start = read_samples(path)
        if len(samples) == 0:
            return None
        return cls(np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)]), start)

    def envelope(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Loudness at some moments: the root mean square of the 40 ms around each.

        Args:
            times: (...) seconds after the first video frame.

        Returns:
            (...) in bels (factors of ten of the amplitude) above -60 dB of full scale, 0 below.
        """
        last = len(self.energy) - 1
        middle, half = (times - self.start) * _RATE, _WINDOW * _RATE / 2
        low, high = (
            np.clip(np.rint(middle + side), 0, last).astype(np.int64) for side in (-half, half)
        )
        mean = np.maximum(self.energy[high] - self.energy[low], 0) / (2 * half)
        return np.log10(np.maximum(np.sqrt(mean), _FLOOR) / _FLOOR)


def read_samples(path: Path) -> tuple[NDArray[np.float32], float]:
    """A clip's first audio stream, none without one.

    Returns:
        (N,) mono samples at 16 kHz, full scale 1; and the time of the first one in seconds after
        the first video frame.

    Raises:
        InputError: the file cannot be read.
    """
    parts: list[NDArray[np.float32]] = []
    first: float | None = None
    with open_source(path) as container:
        if not container.streams.audio:
            return np.zeros(0, np.float32), 0.0
        stream = container.streams.audio[0]
        for other in container.streams:
            if other is not stream:
                mute(other)
        picture = container.streams.video[0] if container.streams.video else None
        origin = float((picture.start_time or 0) * picture.time_base) if picture else 0.0
        resampler = av.AudioResampler(format="flt", layout="mono", rate=_RATE)
        try:
            for frame in container.decode(stream):
                if first is None:
                    first = float(frame.time or 0.0)
                parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
            parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
        except (FFmpegError, OSError) as error:
            raise InputError(
                f"the sound of {quoted(path)} cannot be read: {reason(error)}"
            ) from error
    samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return samples, (first or 0.0) - origin
