"""Fingerprint: a few small pictures of a face by which its clip is known again.

A track, or a performance made from it, fits one film only. Where its landmarks lie there must be
the same face with the same expression; another encoding or another grade of the film changes that
little, another take of the same actor before the same wall does not have it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ned.core.face.track import Track
from ned.core.files.json_files import parse_json
from preprocessing.occlusion import PATCH_SIDE, face_patch

_COUNT, _WITHIN = 8, 250  # patches that are kept, and among how many frames of a face
_SAME = 0.95  # correlation from which patches are the same; two frames later it is about 0.97


class Numbered(Protocol):
    """A frame of a clip (`ned.core.film.clip.Frame` is one)."""

    @property
    def index(self) -> int:
        """Number from 0."""
        ...

    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) upright RGB."""
        ...


def fingerprint(patches: Mapping[int, NDArray[np.uint8]]) -> str:
    """Some of a face's patches (16, 16) by frame as text."""
    frames = sorted(patches)[:_WITHIN]
    chosen = frames[:: -(-len(frames) // _COUNT)] if frames else []
    return json.dumps({str(frame): patches[frame].tobytes().hex() for frame in chosen})


def is_of(track: Track, frames: Iterable[Numbered]) -> bool:
    """Whether a track was made from the film with these frames, read only as far as needed.

    Tracks without a fingerprint, as older versions saved them, may be of any film.
    """
    try:
        kept = {int(frame): bytes.fromhex(code) for frame, code in parse_json(track.clip).items()}
    except (ValueError, AttributeError, TypeError):
        return True
    known = {
        frame: np.frombuffer(code, np.uint8).astype(np.float64)
        for frame, code in kept.items()
        if len(code) == PATCH_SIDE**2 and 0 <= frame < len(track) and track.present[frame]
    }
    found = []
    for frame in frames:
        if len(found) == len(known):
            break
        if frame.index in known:
            points = track.landmarks(frame.index, frame.index + 1)[0]
            now = face_patch(frame.rgb(), points, track.boxes[frame.index]).ravel()
            found.append(_correlation(known[frame.index], now.astype(np.float64)))
    return not found or float(np.median(found)) >= _SAME


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    one, other = one - one.mean(), other - other.mean()
    return float((one @ other) / (np.sqrt((one @ one) * (other @ other)) + 1e-6))
