"""Fitting: a Track becomes a Performance of the rig, one neutral identity for the whole clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deca.rig import Rig, load_rig
from ned.core.errors import NoFaceError
from ned.core.face import mesh as face
from ned.core.face.performance import Performance
from ned.core.face.track import Track
from ned.core.progress import SILENT, Progress

_CHUNK = 128  # frames in memory at once
_SAMPLE_CHUNK = 64  # the same while frames are chosen for the identity
_AXES = np.array([1, 1, 0.5], np.float32)  # tracked depth is less reliable than x and y
_FLIP = np.array([1, -1, -1], np.float32)


@dataclass(frozen=True)
class FittingSettings:
    """How a clip is fitted.

    Attributes:
        identity_frames: at most this many frames, spread over the clip, decide the identity.
        identity_rounds: alternations between identity, pose and expression.
        neutral_pull: share by which, per round, the part of the identity that the units could
            express is pulled to the mean face, so that a constant expression is not taken for
            the actor's neutral face.
        sparsity: L1 weight on activations (of unit-length columns), face units.
        smoothness: weight of squared frame-to-frame differences at 25 frames per second.
        iterations: steps of the accelerated projected gradient.
    """

    identity_frames: int = 240
    identity_rounds: int = 6
    neutral_pull: float = 0.08
    sparsity: float = 0.0015
    smoothness: float = 0.05
    iterations: int = 160


def fit(
    track: Track,
    rig: Rig | None = None,
    settings: FittingSettings = FittingSettings(),
    progress: Progress = SILENT,
) -> Performance:
    """Fit pose, identity and units so that identity + units + residual is the tracked face.

    Units minimise squared distance + sparsity + temporal smoothness subject to being
    non-negative (accelerated projected gradient: Beck & Teboulle, FISTA, 2009); pose is the
    least-squares similarity to the current prediction (Umeyama, 1991). Memory stays small:
    landmarks are read in chunks and only their products with the basis are kept.

    Raises:
        NoFaceError: the track has no frame with a face.
    """
    rig = rig or load_rig()
    seen = np.flatnonzero(track.present)
    if len(seen) == 0:
        raise NoFaceError("the track has no frame with a face; choose another actor or clip")
    solver = UnitSolver(rig, settings)
    identity = _fit_identity(track, seen, rig, solver, settings)

    count = len(track)
    rotation = np.tile(np.eye(3, dtype=np.float32), (count, 1, 1))
    scale, translation = np.ones(count, np.float32), np.zeros((count, 2), np.float32)
    gaze = np.zeros((count, 2, 2), np.float32)
    products = np.zeros((count, len(rig)), np.float32)
    with progress.stage("fitting", count) as step:
        for start in range(0, count, _CHUNK):
            frames = np.arange(start, min(start + _CHUNK, count))
            landmarks = track.landmarks(start, start + _CHUNK)
            kept = track.present[frames]
            frames, landmarks = frames[kept], landmarks[kept]
            if len(frames):
                pose, products[frames] = _fit_chunk(landmarks, identity, rig, solver)
                rotation[frames], scale[frames], translation[frames] = pose
                gaze[frames] = _gaze(landmarks, rotation[frames])
            step(len(kept))
    units = solver.solve(products, *_links(track, settings))
    units[~track.present] = 0
    return Performance(
        face_model="rig",
        unit_names=rig.names,
        units=units,
        identity=identity,
        parameters={
            "rotation": rotation,
            "scale": scale,
            "translation": translation,
            "gaze": gaze,
        },
        track=track,
    )


def residual(
    performance: Performance, rig: Rig, start: int = 0, stop: int | None = None
) -> NDArray[np.float32]:
    """(n, 468, 3) pixels: tracked minus fitted landmarks, so that fit + residual is the track."""
    shape = performance.identity + rig.displacement(performance.units[start:stop])
    fitted = performance.image_from_head(shape, start, stop)
    return performance.track.landmarks(start, stop)[:, :468] - fitted


def head_shapes(performance: Performance, rig: Rig) -> NDArray[np.float32]:
    """(N, 468, 3) tracked shapes of the frames with a face, pose removed, in face units.

    The camera's depth of each frame is the one that fits best. What the tracker adds when the
    head turns (`FaceMesh.pose_bias`) is still in them.
    """
    seen = performance.track.present
    rotation, scale = performance.rotation[seen], performance.scale[seen]
    points = performance.track.landmarks()[seen, :468] * _FLIP
    shape = performance.identity + rig.displacement(performance.units[seen])
    shape = shape + _pose_bias(rotation, rig)
    depth = (points - (shape @ rotation.transpose(0, 2, 1)) * scale[:, None, None])[..., 2].mean(1)
    across = performance.translation[seen] * _FLIP[:2]
    translation = np.concatenate([across, depth[:, None]], axis=1).astype(np.float32)
    return _to_head(points, (rotation, scale, translation))


def pose_features(rotation: NDArray[np.floating]) -> NDArray[np.float32]:
    """(T, 3, 3) head-to-camera rotations -> (T, 5) features of `FaceMesh.pose_bias`."""
    across, up = rotation[:, 2, 0], rotation[:, 2, 1]
    return np.stack([across, up, across**2, up**2, across * up], axis=1).astype(np.float32)


class UnitSolver:
    """Non-negative, sparse, smooth least squares on unit-length columns of the basis."""

    def __init__(self, rig: Rig, settings: FittingSettings) -> None:
        basis = (rig.basis * _AXES).reshape(len(rig), -1)
        self.lengths = np.linalg.norm(basis, axis=1)
        self.columns = basis / self.lengths[:, None]
        self.gram = self.columns @ self.columns.T
        self.settings = settings
        self.steepness = float(np.linalg.eigvalsh(self.gram)[-1])

    def products(self, offsets: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T, 468, 3) offsets from neutral -> (T, U) inner products with the columns."""
        return (offsets * _AXES).reshape(len(offsets), -1) @ self.columns.T

    def solve(
        self,
        products: NDArray[np.float32],
        links: NDArray[np.float32] | None = None,
        weights: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """(T, U) products -> (T, U) activations; `links` (T-1,) weigh consecutive differences."""
        iterations = self.settings.iterations
        bound = self.steepness + (4 * float(links.max()) if links is not None and len(links) else 0)
        weights = np.ones(len(products), np.float32) if weights is None else weights
        activations = np.zeros_like(products)
        ahead, momentum = activations, 1.0
        target = products - np.float32(self.settings.sparsity)
        for _ in range(iterations):
            gradient = ahead @ self.gram
            gradient -= target
            gradient *= weights[:, None]
            if links is not None and len(links):
                change = np.diff(ahead, axis=0) * links[:, None]
                gradient[1:] += change
                gradient[:-1] -= change
            following = np.maximum(ahead - gradient / np.float32(bound), 0)
            faster = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            ahead = following + np.float32((momentum - 1) / faster) * (following - activations)
            activations, momentum = following, faster
        return (activations / self.lengths).astype(np.float32)

    def normalised(self, units: NDArray[np.float32]) -> NDArray[np.float32]:
        return units * self.lengths


def _links(
    track: Track, settings: FittingSettings
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Smoothness weights between frames (0 across cuts and gaps), data weights per frame."""
    present = track.present
    interval = np.maximum(np.diff(track.times), 1e-3)
    joined = present[1:] & present[:-1] & (track.shots[1:] == track.shots[:-1])
    links = settings.smoothness * np.minimum(1 / (25 * interval), 4) * joined
    return links.astype(np.float32), np.where(present, track.confidence, 0).astype(np.float32)


def _fit_identity(
    track: Track,
    seen: NDArray[np.int64],
    rig: Rig,
    solver: UnitSolver,
    settings: FittingSettings,
) -> NDArray[np.float32]:
    """(468, 3) neutral face of the actor from a spread of well-seen, frontal frames."""
    sample = seen[
        np.linspace(0, len(seen) - 1, min(len(seen), 4 * settings.identity_frames)).astype(int)
    ]
    mean = rig.mesh.neutral
    turn = 1 - track.confidence[sample]
    for start in range(0, len(sample), _SAMPLE_CHUNK):
        part = slice(start, start + _SAMPLE_CHUNK)
        points = _points_of(track, sample[part])
        turn[part] += _facing(_align(points, np.broadcast_to(mean, points.shape)))
    best = np.argsort(turn, kind="stable")[: settings.identity_frames]
    points = _points_of(track, sample[np.sort(best)])
    # An orthonormal basis of everything the units can express.
    flat = rig.basis.reshape(len(rig), -1)
    _, sizes, directions = np.linalg.svd(flat, full_matrices=False)
    span = directions[sizes > 0.02 * sizes[0]]
    identity = mean
    prediction = np.broadcast_to(mean, points.shape)
    for _ in range(settings.identity_rounds):
        pose = _align(points, prediction)
        shape = _to_head(points, pose)
        bias = _pose_bias(pose[0], rig)
        units = solver.solve(solver.products(shape - identity - bias))
        moved = rig.displacement(units) + bias
        offset = np.median(shape - moved, axis=0) - mean
        expressible = (offset.reshape(-1) @ span.T) @ span
        identity = mean + offset - settings.neutral_pull * expressible.reshape(468, 3)
        prediction = identity + moved
    return identity.astype(np.float32)


def _points_of(track: Track, frames: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n, 468, 3) mesh points of single frames, camera axes."""
    points = [track.landmarks(int(f), int(f) + 1)[:, :468] for f in frames]
    return np.concatenate(points) * _FLIP


Pose = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def _fit_chunk(
    landmarks: NDArray[np.float32], identity: NDArray[np.float32], rig: Rig, solver: UnitSolver
) -> tuple[Pose, NDArray[np.float32]]:
    """Pose of (n, 478, 3) landmarks, and products of their expression with the basis."""
    points = landmarks[:, :468] * _FLIP
    prediction = np.broadcast_to(identity, points.shape)
    pose = _align(points, prediction)
    for _ in range(2):
        bias = _pose_bias(pose[0], rig)
        offsets = _to_head(points, pose) - identity - bias
        units = solver.solve(solver.products(offsets))
        pose = _align(points, identity + rig.displacement(units) + bias)
    offsets = _to_head(points, pose) - identity - _pose_bias(pose[0], rig)
    rotation, scale, translation = pose
    return (rotation, scale, translation[:, :2] * _FLIP[:2]), solver.products(offsets)


def _pose_bias(rotation: NDArray[np.float32], rig: Rig) -> NDArray[np.float32]:
    features = pose_features(rotation)
    return (features @ rig.mesh.pose_bias.reshape(5, -1)).reshape(len(features), 468, 3)


def _align(points: NDArray[np.float32], shape: NDArray[np.float32]) -> Pose:
    """Similarity per frame, camera from head: points ≈ scale · shape @ rotationᵀ + translation."""
    mean_points, mean_shape = points.mean(1), shape.mean(1)
    centred, model = points - mean_points[:, None], shape - mean_shape[:, None]
    covariance = np.einsum("tvi,tvj->tij", centred, model)
    left, sizes, right = np.linalg.svd(covariance)
    sign = np.ones_like(sizes)
    sign[:, 2] = np.sign(np.linalg.det(left @ right))
    rotation = np.einsum("tij,tj,tjk->tik", left, sign, right)
    scale = (sizes * sign).sum(1) / (model**2).sum((1, 2))
    moved = scale[:, None] * np.einsum("tij,tj->ti", rotation, mean_shape)
    return (
        rotation.astype(np.float32),
        scale.astype(np.float32),
        (mean_points - moved).astype(np.float32),
    )


def _to_head(points: NDArray[np.float32], pose: Pose) -> NDArray[np.float32]:
    """(n, 468, 3) camera points -> face units, the inverse of the similarity."""
    rotation, scale, translation = pose
    return ((points - translation[:, None]) @ rotation) / scale[:, None, None]


def _facing(pose: Pose) -> NDArray[np.float32]:
    """(n,) sine of the angle between the face and the camera."""
    return np.hypot(pose[0][:, 0, 2], pose[0][:, 1, 2])


def _gaze(landmarks: NDArray[np.float32], rotation: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, 2, 2) iris centres relative to the middle of their eye's corners, in eye widths."""
    eyes = (
        (face.RIGHT_IRIS[0], face.RIGHT_UPPER_LID[0], face.RIGHT_UPPER_LID[-1]),
        (face.LEFT_IRIS[0], face.LEFT_UPPER_LID[0], face.LEFT_UPPER_LID[-1]),
    )
    gaze = []
    for iris, outer, inner in eyes:
        middle = (landmarks[:, outer] + landmarks[:, inner]) / 2
        width = np.linalg.norm(landmarks[:, outer] - landmarks[:, inner], axis=1)
        offset = ((landmarks[:, iris] - middle) * _FLIP)[:, None] @ rotation
        gaze.append(offset[:, 0, :2] / np.maximum(width, 1e-6)[:, None])
    return np.stack(gaze, axis=1)
