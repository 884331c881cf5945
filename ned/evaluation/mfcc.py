"""MFCC: what a sound sounds like, 100 times a second, as speech networks of the 2010s want it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE = 16000  # samples per second

_WINDOW, _STEP = 400, 160  # samples
_SPECTRUM = 512
_FILTERS = 26
_PRE_EMPHASIS = 0.97
_LIFTER = 22
_FULL_SCALE = 32768  # of 16-bit sound, whose levels the logarithms are taken of
_SMALLEST = float(np.finfo(np.float64).eps)


def mfcc(samples: NDArray[np.floating], coefficients: int = 13) -> NDArray[np.float32]:
    """Mel-frequency cepstral coefficients (Davis and Mermelstein 1980).

    With the conventions of the package python_speech_features, which SyncNet was trained with:
    pre-emphasis 0.97, windows of 25 ms every 10 ms without a taper, power spectrum of 512 points,
    26 triangular mel filters from 0 to 8 kHz, orthonormal cosine transform, sine lifter 22, and the
    logarithm of the window's energy in the place of coefficient 0. The last window is filled with
    zeros.

    Args:
        samples: (S,) mono sound at 16 kHz, full scale 1.

    Returns:
        (1 + ceil((S - 400) / 160), coefficients) float32; one row of a sound within one window.
    """
    from scipy.fft import dct, rfft

    signal = np.asarray(samples, np.float64) * _FULL_SCALE
    if len(signal):
        signal = np.concatenate([signal[:1], signal[1:] - _PRE_EMPHASIS * signal[:-1]])
    count = 1 + max(0, -(-(len(signal) - _WINDOW) // _STEP))
    padded = np.zeros((count - 1) * _STEP + _WINDOW)
    padded[: len(signal)] = signal
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_STEP]
    power = np.abs(np.asarray(rfft(windows, _SPECTRUM))) ** 2 / _SPECTRUM
    energy = np.maximum(power.sum(1), _SMALLEST)
    bands = np.maximum(power @ _filters().T, _SMALLEST)
    cepstrum = np.asarray(dct(np.log(bands), type=2, norm="ortho"))[:, :coefficients]
    cepstrum = cepstrum * (1 + _LIFTER / 2 * np.sin(np.pi * np.arange(coefficients) / _LIFTER))
    cepstrum[:, 0] = np.log(energy)
    return cepstrum.astype(np.float32)


def _filters() -> NDArray[np.float64]:
    """(26, 257) triangles, equally wide in mel, between rounded-down bins of the spectrum."""
    highest = 2595 * np.log10(1 + RATE / 2 / 700)
    mel = np.linspace(0, highest, _FILTERS + 2)
    edges = np.floor((_SPECTRUM + 1) * 700 * (10 ** (mel / 2595) - 1) / RATE)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = np.arange(_SPECTRUM // 2 + 1)
    rising = (bins - low) / np.maximum(middle - low, 1)
    falling = (high - bins) / np.maximum(high - middle, 1)
    inside = (bins >= low) & (bins < high)
    return np.where(inside, np.where(bins < middle, rising, falling), 0)
