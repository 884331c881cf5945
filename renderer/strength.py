"""Strength: how much of an edit a frame can bear before it would break."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, minimum_filter1d

from ned.core.face.performance import Performance
from ned.core.face.track import Track


@dataclass(frozen=True)
class StrengthSettings:
    """When an edit fades out.

    Attributes:
        yaw: (full, none) degrees the head may be turned for the full edit, and for none.
        pitch: the same for a nod.
        confidence: (none, full) tracking confidence.
        fade_seconds: length of a fade; edits fade before a gap begins and after it ends.
    """

    yaw: tuple[float, float] = (40.0, 62.0)
    pitch: tuple[float, float] = (32.0, 52.0)
    confidence: tuple[float, float] = (0.2, 0.5)
    fade_seconds: float = 0.24


def edit_strength(
    performance: Performance, settings: StrengthSettings | None = None
) -> NDArray[np.float32]:
    """(T,) share in [0, 1] of the edit that each frame gets; 0 where no face can be seen.

    Fades never reach across a cut: a shot that begins with a face begins with the full edit. What
    hides a face comes and goes from one frame to the next, and so does the edit.
    """
    settings = settings or StrengthSettings()
    track = performance.track
    low, high = settings.confidence
    strength = (
        _fall(np.abs(performance.yaw), *settings.yaw)
        * _fall(np.abs(performance.pitch), *settings.pitch)
        * _fall(-track.confidence, -high, -low)
        * track.present
    )
    strength[track.hidden] = 1
    return fade(strength, track, settings.fade_seconds) * ~track.hidden


def fade(
    share: NDArray[np.floating], track: Track, seconds: float = StrengthSettings.fade_seconds
) -> NDArray[np.float32]:
    """(T,) shares in [0, 1], lowered where they lie near lower ones of the same shot."""
    rate = 1 / max(float(np.median(np.diff(track.times))), 1e-3) if len(track) > 1 else 25.0
    frames = max(1, round(seconds * rate))
    faded = np.zeros_like(share)
    for shot in np.unique(track.shots):
        inside = track.shots == shot
        lowest = minimum_filter1d(share[inside], 2 * frames + 1, mode="nearest")
        faded[inside] = gaussian_filter1d(lowest, frames / 2, mode="nearest")
    return np.minimum(faded, share).astype(np.float32)


def is_edited(change: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(...,) whether activations (..., U) change anything that could be seen."""
    return (np.abs(change) > 1e-4).any(-1)


def skipped_frames(
    performance: Performance, strength: NDArray[np.float32]
) -> list[tuple[int, int, str]]:
    """Runs of frames that stay as they were: first, last (inclusive), and why."""
    track = performance.track
    unsure = track.confidence < StrengthSettings.confidence[0]
    reasons = np.select(
        [track.hidden, ~track.present, unsure],
        ["hidden", "no face", "low confidence"],
        "turned away",
    )
    runs: list[tuple[int, int, str]] = []
    for frame in np.flatnonzero(strength < 1e-3):
        reason = str(reasons[frame])
        if runs and runs[-1][1] == frame - 1 and runs[-1][2] == reason:
            runs[-1] = (runs[-1][0], int(frame), reason)
        else:
            runs.append((int(frame), int(frame), reason))
    return runs


def _fall(value: NDArray[np.floating], start: float, end: float) -> NDArray[np.float32]:
    """1 up to `start`, 0 from `end` on, smooth between."""
    share = np.clip((end - value) / (end - start), 0, 1)
    return (share * share * (3 - 2 * share)).astype(np.float32)
