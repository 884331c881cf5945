"""FlameFit: a Track becomes FLAME codes without any network, one identity for the whole clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded

from deca.flame_codes import FlameCodes
from deca.flame_crops import codes_of
from deca.flame_file import read_flame
from deca.flame_landmarks import read_landmarks, read_mediapipe
from deca.flame_observation import Observation, face_heights, observe, starting_motion
from deca.flame_points import (
    EXPRESSION,
    MOTION,
    SHAPE,
    FlamePoints,
    flame_points,
    outline_rows,
    project,
)
from ned.core.errors import NoFaceError
from ned.core.face.track import Track
from ned.core.progress import SILENT, Progress

Array = NDArray[np.float64]

_RATE = 25.0  # frames per second that the changes below are meant for


@dataclass(frozen=True)
class FlameFitSettings:
    """How a clip is fitted. Lengths are shares of the face's height in the image.

    Attributes:
        identity_frames: at most this many frames, spread over the clip and over the yaw, decide
            the identity.
        identity_rounds: Gauss-Newton steps for it.
        rounds: Gauss-Newton steps for expression, jaw, head and camera.
        noise: standard deviation of a tracked coordinate; None estimates it from the residual.
        cut: distance in standard deviations beyond which a point loses its weight.
        jaw: standard deviations of the jaw's three rotations, radians.
        expression_change: standard deviation of an expression code's second difference in time at
            25 frames per second; 0 leaves frames on their own. So for the next four.
        jaw_change: radians.
        head_change: radians.
        scale_change: of the logarithm of the head's size.
        place_change: of its place.
        chunk: frames solved together; more are solved in overlapping pieces.
        context: frames of overlap to either side.
    """

    identity_frames: int = 48
    identity_rounds: int = 10
    rounds: int = 6
    noise: float | None = None
    cut: float = 6.0
    jaw: tuple[float, float, float] = (0.25, 0.03, 0.03)
    expression_change: float = 0.15
    jaw_change: float = 0.04
    head_change: float = 0.015
    scale_change: float = 0.004
    place_change: float = 0.008
    chunk: int = 240
    context: int = 24


@dataclass(frozen=True, eq=False)
class FlameFit:
    """What a fit found.

    Attributes:
        codes: FLAME codes of every frame of the track; image crops are whole frames, so
            `transforms` lead from the track's image (whole numbers at pixel centres) to the crop.
        residual: (T,) float32 root mean square distance of tracked and fitted points in pixels;
            NaN without a face.
        noise: standard deviation of a tracked coordinate that was assumed or estimated, as a share
            of the face's height.
    """

    codes: FlameCodes
    residual: NDArray[np.float32]
    noise: float


def load_flame_points(flame: Path, landmarks: Path, mediapipe: Path) -> FlamePoints:
    """The part of FLAME that `fit_flame` needs, from the user's files.

    Raises:
        InputError: a file is missing, damaged, or does not belong to the others.
    """
    model = read_flame(flame)
    count = len(model.faces)
    return flame_points(model, read_landmarks(landmarks, count), read_mediapipe(mediapipe, count))


def fit_flame(
    track: Track,
    model: FlamePoints,
    settings: FlameFitSettings = FlameFitSettings(),
    progress: Progress = SILENT,
) -> FlameFit:
    """Fit one identity, and per frame expression, jaw, head pose and a weak-perspective camera.

    Maximum a posteriori: points that FLAME shares with MediaPipe's mesh, the outline of the jaw as
    distance to a curve, unit normal priors on the codes (FLAME's codes are standardised), and
    normal second differences in time. Gauss-Newton; Geman-McClure weights take outliers out. First
    the identity, with its own expression and pose in each of some frames (the frames are
    eliminated by a Schur complement), then whole stretches of frames with it held, as one banded
    system. Frames are linked within a shot only. Landmarks are read in chunks.

    Raises:
        NoFaceError: the track has no frame with a face.
    """
    if not track.present.any():
        raise NoFaceError("the track has no frame with a face; choose another actor or clip")
    heights = face_heights(track)
    identity, noise = _fit_identity(track, model, heights, settings)
    person = model.fixed(identity)

    count = len(track)
    codes, motion = np.zeros((count, EXPRESSION)), np.zeros((count, MOTION))
    residual = np.full(count, np.nan, np.float32)
    with progress.stage("fitting", count) as step:
        for start in range(0, count, settings.chunk):
            stop = min(start + settings.chunk, count)
            first, last = max(start - settings.context, 0), min(stop + settings.context, count)
            frames = first + np.flatnonzero(track.present[first:last])
            kept = (frames >= start) & (frames < stop)
            if kept.any():
                seen = observe(track, model, frames, heights)
                solved = _fit_motion(track, person, seen, noise, settings)
                codes[frames[kept]], motion[frames[kept]] = solved[0][kept], solved[1][kept]
                apart = np.hypot(*_apart(person, seen, *solved).transpose(1, 0, 2))
                residual[frames[kept]] = np.sqrt((apart[kept] ** 2).mean(1))
            step(stop - start)
    return FlameFit(codes_of(track, person, identity, codes, motion), residual, noise)


def whitened(
    model: FlamePoints,
    seen: Observation,
    codes: Array,
    motion: Array,
    noise: float,
    cut: float,
) -> tuple[Array, Array]:
    """Residuals (T, R) in standard deviations and their derivatives (T, R, K + 9).

    Both are scaled by the square roots of the Geman-McClure weights; cut = inf turns those off.
    """
    count = len(codes)
    inner = project(model, model.seen, codes, motion)
    trust = np.sqrt(seen.trust) / seen.heights
    share = (trust / noise)[:, None, None]
    apart = (inner.pixels - seen.points) * share
    weight = _kept((apart**2).sum(1), cut)[:, None]
    parts = [(apart * weight).reshape(count, -1)]
    slopes = [
        (inner.derivatives * (share * weight)[..., None]).reshape(count, len(parts[0][0]), -1)
    ]

    outline = model.outline.row(outline_rows(motion[:, 3:6]))
    curve = project(model, outline, codes, motion)
    offset, normal = _to_line(curve.pixels.transpose(0, 2, 1), seen.outline)
    share = (trust / max(3 * noise, 0.01))[:, None]
    apart = offset * share
    weight = _kept(apart**2, cut)
    parts.append(apart * weight)
    slope = np.einsum("tli,tilk->tlk", normal, curve.derivatives)
    slopes.append(slope * (share * weight)[..., None])
    return np.concatenate(parts, axis=1), np.concatenate(slopes, axis=1)


def _kept(squares: Array, cut: float) -> Array:
    """Square roots of Geman-McClure weights."""
    return 1 / (1 + squares / cut**2)


def _to_line(points: Array, line: Array) -> tuple[Array, Array]:
    """Signed distance (T, L) of points (T, L, 2) to a polyline (T, M, 2), its normals (T, L, 2)."""
    start, along = line[:, None, :-1], np.diff(line, axis=1)[:, None]
    squared = np.maximum((along**2).sum(-1), 1e-9)
    share = (((points[:, :, None] - start) * along).sum(-1) / squared).clip(0, 1)
    offset = points[:, :, None] - start - share[..., None] * along
    nearest = (offset**2).sum(-1).argmin(2)[..., None]
    length = np.sqrt(squared)[..., None]
    normals = np.stack([-along[..., 1], along[..., 0]], axis=-1) / length
    normals = np.broadcast_to(normals, offset.shape)
    normal = np.take_along_axis(normals, nearest[..., None], 2)[:, :, 0]
    chosen = np.take_along_axis(offset, nearest[..., None], 2)[:, :, 0]
    return (chosen * normal).sum(-1), normal


def _apart(model: FlamePoints, seen: Observation, codes: Array, motion: Array) -> Array:
    """(T, 2, N) fitted minus tracked pixels."""
    return project(model, model.seen, codes, motion, derive=False).pixels - seen.points


def _estimate_noise(apart: Array, heights: Array, freedom: float) -> float:
    """Robust standard deviation of a coordinate; `freedom` is the share not fitted away."""
    spread = 1.4826 * np.median(np.abs(apart) / heights[:, None, None])
    return float(np.clip(spread / np.sqrt(freedom), 0.001, 0.03))


def _fit_identity(
    track: Track, model: FlamePoints, heights: Array, settings: FlameFitSettings
) -> tuple[Array, float]:
    """(100,) identity codes, and the noise."""
    seen = observe(track, model, _identity_frames(track, model, heights, settings), heights)
    count = len(seen.frames)
    motion = starting_motion(model, seen)
    codes, identity = np.zeros((count, EXPRESSION)), np.zeros(SHAPE)
    precision = prior_precision(settings)
    noise = settings.noise or 0.02
    unknown = count * (EXPRESSION + MOTION) + SHAPE
    freedom = max(1 - unknown / seen.points.size, 0.2)
    for turn in range(settings.identity_rounds):
        both = np.concatenate([np.tile(identity, (count, 1)), codes], axis=1)
        cut = settings.cut * max(1.0, 4.0 - turn)
        rest, slopes = whitened(model, seen, both, motion, noise, cut)
        shared, own = slopes[..., :SHAPE], slopes[..., SHAPE:]
        system = own.transpose(0, 2, 1) @ own + np.diag(precision)
        cross = own.transpose(0, 2, 1) @ shared
        right = (own.transpose(0, 2, 1) @ rest[..., None])[..., 0]
        right[:, :-6] += precision[:-6] * np.concatenate([codes, motion[:, :3]], axis=1)
        solved = np.linalg.solve(system, np.concatenate([cross, right[..., None]], axis=2))
        left = np.eye(SHAPE) + np.einsum("trk,trl->kl", shared, shared, optimize=True)
        left -= np.einsum("tnk,tnl->kl", cross, solved[..., :-1], optimize=True)
        gradient = identity + np.einsum("trk,tr->k", shared, rest)
        gradient -= np.einsum("tnk,tn->k", cross, solved[..., -1])
        step = -np.linalg.solve(left, gradient)
        own_step = -(solved[..., -1] + solved[..., :-1] @ step)
        identity = identity + step
        codes, motion = _moved(codes, motion, own_step)
        if settings.noise is None:
            both = np.concatenate([np.tile(identity, (count, 1)), codes], axis=1)
            noise = _estimate_noise(_apart(model, seen, both, motion), seen.heights, freedom)
    return identity, noise


def _identity_frames(
    track: Track, model: FlamePoints, heights: Array, settings: FlameFitSettings
) -> NDArray[np.int64]:
    """Well-seen frames, spread over the clip and then over the yaw."""
    seen = np.flatnonzero(track.present & ~track.interpolated)
    if len(seen) == 0:
        seen = np.flatnonzero(track.present)
    wanted = settings.identity_frames
    sample = seen[np.linspace(0, len(seen) - 1, min(len(seen), 8 * wanted)).astype(int)]
    sample = np.unique(sample)
    heads = np.concatenate(
        [
            starting_motion(model, observe(track, model, sample[k : k + 64], heights))[:, 3:6]
            for k in range(0, len(sample), 64)
        ]
    )
    yaw = np.degrees(heads[:, 1])
    frontal = np.flatnonzero(np.abs(yaw) < 50)
    if len(frontal) == 0:
        frontal = np.argsort(np.abs(yaw), kind="stable")[:wanted]
    order = frontal[np.argsort(yaw[frontal], kind="stable")]
    picked = order[np.linspace(0, len(order) - 1, min(len(order), wanted)).astype(int)]
    return np.unique(sample[picked])


def prior_precision(settings: FlameFitSettings) -> Array:
    """(59,) inverse variances of a frame's own unknowns."""
    jaw = 1 / np.square(settings.jaw)
    return np.concatenate([np.ones(EXPRESSION), jaw, np.full(6, 1e-6)])


def _moved(codes: Array, motion: Array, step: Array) -> tuple[Array, Array]:
    """Unknowns after a Gauss-Newton step: a head turns and grows by one half at most."""
    turn = np.abs(step[:, EXPRESSION : EXPRESSION + 7]).max(1)
    step = step * np.minimum(1, 0.5 / np.maximum(turn, 0.5))[:, None]
    return codes + step[:, :EXPRESSION], motion + step[:, EXPRESSION:]


def _fit_motion(
    track: Track,
    person: FlamePoints,
    seen: Observation,
    noise: float,
    settings: FlameFitSettings,
) -> tuple[Array, Array]:
    """(T, 50) expression codes and (T, 9) motion of frames that are solved together."""
    motion = starting_motion(person, seen)
    codes = np.zeros((len(motion), EXPRESSION))
    precision = prior_precision(settings)
    starts, stiffness = _links(track, seen, settings)
    for turn in range(settings.rounds):
        cut = settings.cut * max(1.0, 3.0 - turn)
        rest, slopes = whitened(person, seen, codes, motion, noise, cut)
        system = slopes.transpose(0, 2, 1) @ slopes + np.diag(precision)
        right = (slopes.transpose(0, 2, 1) @ rest[..., None])[..., 0]
        right[:, :-6] += precision[:-6] * np.concatenate([codes, motion[:, :3]], axis=1)
        unknowns = np.concatenate([codes, motion], axis=1)
        bend = unknowns[starts] - 2 * unknowns[starts + 1] + unknowns[starts + 2]
        for offset, factor in enumerate((1, -2, 1)):
            right[starts + offset] += factor * stiffness * bend
        codes, motion = _moved(codes, motion, -_solve_banded(system, right, starts, stiffness))
    return codes, motion


def _links(
    track: Track, seen: Observation, settings: FlameFitSettings
) -> tuple[NDArray[np.int64], Array]:
    """Starts of three frames in a row within a shot, and inverse variances of their bend (n, 59).

    Bends grow with the square of the interval between frames.
    """
    frames = seen.frames
    rows = np.arange(max(len(frames) - 2, 0))
    starts = rows[
        (frames[rows + 2] == frames[rows] + 2)
        & (track.shots[frames[rows]] == track.shots[frames[rows + 2]])
    ]
    sizes = np.concatenate(
        [
            np.full(EXPRESSION, settings.expression_change),
            np.full(3, settings.jaw_change),
            np.full(3, settings.head_change),
            [settings.scale_change, settings.place_change, settings.place_change],
        ]
    )
    with np.errstate(divide="ignore"):
        stiffness = np.where(sizes > 0, 1 / np.square(sizes), 0.0)
    times = track.times[frames]
    interval = (times[starts + 2] - times[starts]) / 2
    interval = np.where(interval > 0, interval, 1 / _RATE)
    pace = np.clip(_RATE * interval, 0.25, 4) ** -4
    units = np.ones((len(starts), EXPRESSION + MOTION))
    units[:, -2:] = seen.heights[starts + 1, None] ** -2
    return starts, units * stiffness * pace[:, None]


def _solve_banded(
    system: Array, right: Array, starts: NDArray[np.int64], stiffness: Array
) -> Array:
    """Solve block-diagonal (T, n, n) plus second differences; only the lower band is stored."""
    count, size = right.shape
    band = np.zeros((2 * size + 1, count, size))
    for column in range(size):
        band[: size - column, :, column] = system[:, column:, column].T
    np.add.at(band[0], starts, stiffness)
    np.add.at(band[0], starts + 1, 4 * stiffness)
    np.add.at(band[0], starts + 2, stiffness)
    np.add.at(band[size], starts, -2 * stiffness)
    np.add.at(band[size], starts + 1, -2 * stiffness)
    np.add.at(band[2 * size], starts, stiffness)
    flat = band.reshape(2 * size + 1, -1)
    solved = solveh_banded(flat, right.reshape(-1), lower=True, overwrite_ab=True)
    return solved.reshape(count, size)
