"""FlamePoints: the few points of FLAME that a fit looks at, with their derivatives (numpy only).

With a straight neck and straight eyes, skinning moves a vertex by the jaw alone, then by the whole
head. Both are linear in the vertex, so a barycentric point p of the surface needs two vectors
instead of its three corners: the point itself, P, and the same sum weighted by the share of the
jaw, Q, with their total share c:

    y = P + (R_jaw - 1)(Q - c j),  x = R (y - o) + o

where j and o are the jaw's and the head's joint, and P, Q, j, o are linear in the codes (P and Q
in the entries of R_jaw - 1 too).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deca.flame_file import FlameFile
from deca.flame_landmarks import Embedding, FlameLandmarks, MediapipeLandmarks

Array = NDArray[np.float64]

SHAPE, EXPRESSION = 100, 50  # codes that DECA and NED use
MOTION = 9  # jaw (3), head (3) axis-angle; log of the scale, x, y in pixels
_JAW = slice(9, 18)  # of the 36 pose features
_HEAD_JOINT, _JAW_JOINT = 0, 2


@dataclass(frozen=True, eq=False)
class PointSet:
    """Some points, linear in codes: index 0 is P, index 1 is Q of the module's formula.

    Leading axes "*" are () for points that stay, (79,) for the rows of the outline.

    Attributes:
        mean: (*, 2, L, 3) metres.
        codes: (*, K, 2, L, 3) per code.
        pose: (*, 9, 2, L, 3) per entry of R_jaw - 1.
        share: (*, L) the jaw's share.
    """

    mean: Array
    codes: Array
    pose: Array
    share: Array

    def row(self, rows: NDArray[np.int64]) -> PointSet:
        """One row per frame."""
        return PointSet(self.mean[rows], self.codes[rows], self.pose[rows], self.share[rows])

    def fixed(self, codes: Array) -> PointSet:
        """The same points with the first codes decided."""
        count = len(codes)
        decided = np.tensordot(codes, np.moveaxis(self.codes[..., :count, :, :, :], -4, 0), 1)
        return PointSet(
            self.mean + decided, self.codes[..., count:, :, :, :], self.pose, self.share
        )


@dataclass(frozen=True, eq=False)
class FlamePoints:
    """What a fit needs of FLAME.

    Attributes:
        seen: the points with a twin among MediaPipe's.
        inner: the 51 inner landmarks.
        outline: (79 rows) the 17 landmarks of the outline.
        points: (N,) MediaPipe's indices of `seen`.
        joints_mean: (2, 3) head and jaw joint, metres.
        joints: (K, 2, 3) per code.
    """

    seen: PointSet
    inner: PointSet
    outline: PointSet
    points: NDArray[np.int64]
    joints_mean: Array
    joints: Array

    def fixed(self, codes: Array) -> FlamePoints:
        """The same model with its first codes decided, such as an actor's identity."""
        count = len(codes)
        return FlamePoints(
            self.seen.fixed(codes),
            self.inner.fixed(codes),
            self.outline.fixed(codes),
            self.points,
            self.joints_mean + np.tensordot(codes, self.joints[:count], 1),
            self.joints[count:],
        )


def flame_points(
    model: FlameFile, landmarks: FlameLandmarks, mediapipe: MediapipeLandmarks
) -> FlamePoints:
    """Reduce FLAME to 100 identity and 50 expression codes at its landmarks.

    A model with fewer expression columns gets columns of zeros in their place.
    """
    joints = model.regressor[[_HEAD_JOINT, _JAW_JOINT]].astype(np.float64)
    basis = np.zeros((SHAPE + EXPRESSION, *model.template.shape))
    basis[: len(model.identity[:SHAPE])] = model.identity[:SHAPE]
    basis[SHAPE : SHAPE + len(model.expression[:EXPRESSION])] = model.expression[:EXPRESSION]
    return FlamePoints(
        seen=_point_set(model, basis, mediapipe.embedding),
        inner=_point_set(model, basis, landmarks.static),
        outline=_point_set(model, basis, landmarks.contour),
        points=mediapipe.points,
        joints_mean=joints @ model.template,
        joints=np.einsum("jv,kvc->kjc", joints, basis),
    )


def _point_set(model: FlameFile, basis: Array, embedding: Embedding) -> PointSet:
    corners = model.faces[embedding.faces]
    weights = embedding.weights.astype(np.float64)
    shares = model.weights[:, _JAW_JOINT].astype(np.float64)[corners]
    sums = np.stack([weights, weights * shares], axis=-3)  # (*, 2, L, 3 corners)

    def points(fields: Array) -> Array:
        """(n, V, 3) -> (*, n, 2, L, 3)."""
        picked = np.moveaxis(fields[:, corners], 0, -4)  # (*, n, L, 3 corners, 3)
        return np.einsum("...plb,...nlbc->...nplc", sums, picked)

    return PointSet(
        mean=points(model.template[None].astype(np.float64))[..., 0, :, :, :],
        codes=points(basis),
        pose=points(model.pose[_JAW].astype(np.float64)),
        share=(weights * shares).sum(-1),
    )


@dataclass(frozen=True, eq=False)
class Projection:
    """Points in the image.

    Attributes:
        pixels: (T, 2, L) x and y, y down.
        derivatives: (T, 2, L, K + 9) by codes and motion; empty (0 last) if not wanted.
    """

    pixels: Array
    derivatives: Array


def project(
    model: FlamePoints, points: PointSet, codes: Array, motion: Array, derive: bool = True
) -> Projection:
    """Points under weak perspective: x right, y down, pixels.

    Args:
        model: for the joints.
        points: a set of it; with one row per frame if its points depend on the pose.
        codes: (T, K).
        motion: (T, 9).
        derive: whether derivatives are wanted.
    """
    jaw, head = rotation_of(motion[:, :3]), rotation_of(motion[:, 3:6])
    scale = np.exp(motion[:, 6])[:, None] * (1.0, -1.0)  # y up -> y down
    bend = jaw - np.eye(3)
    placed = (
        points.mean + _combine(codes, points.codes) + _combine(bend.reshape(-1, 9), points.pose)
    )
    joints = model.joints_mean + np.tensordot(codes, model.joints, 1)
    origin, hinge = joints[:, None, 0], joints[:, None, 1]
    lever = placed[:, 1] - points.share[..., None] * hinge
    turned = (placed[:, 0] + lever @ bend.transpose(0, 2, 1) - origin) @ head.transpose(0, 2, 1)
    flat = (turned + origin)[..., :2].transpose(0, 2, 1)
    pixels = flat * scale[..., None] + motion[:, 7:, None]
    if not derive:
        return Projection(pixels, np.zeros((*pixels.shape, 0)))

    count, size = len(codes), codes.shape[1]
    derivatives = np.zeros((*pixels.shape, size + MOTION))
    across = head[:, :2]
    ways = np.concatenate([across, across @ bend], axis=2)  # (T, 2, 6)
    whole = points.codes[..., 0, :, :] - model.joints[:, None, 0]
    hinged = points.codes[..., 1, :, :] - (
        points.share[..., None, :, None] * model.joints[:, None, 1]
    )
    fields = np.stack([whole, hinged], axis=-2)  # (*, K, L, 2, 3)
    flattened = np.moveaxis(fields, -4, -3).reshape(*fields.shape[:-4], -1, 6)  # (*, L K, 6)
    moved = (ways @ np.swapaxes(flattened, -1, -2)).reshape(count, 2, -1, size)
    derivatives[..., :size] = moved + model.joints[:, 0, :2].T[None, :, None, :]
    for axis, way in enumerate(np.moveaxis(left_jacobian(motion[:, :3]), 2, 0)):
        turn = cross_matrix(way) @ jaw
        change = _combine(turn.reshape(-1, 9), points.pose)
        moves = change[:, 0] + lever @ turn.transpose(0, 2, 1)
        moves += change[:, 1] @ bend.transpose(0, 2, 1)
        derivatives[..., size + axis] = across @ moves.transpose(0, 2, 1)
    for axis, way in enumerate(np.moveaxis(left_jacobian(motion[:, 3:6]), 2, 0)):
        moves = np.cross(way[:, None], turned)
        derivatives[..., size + 3 + axis] = moves[..., :2].transpose(0, 2, 1)
    derivatives[..., size + 6] = flat
    derivatives[..., : size + 7] *= scale[:, :, None, None]
    derivatives[:, 0, :, size + 7] = derivatives[:, 1, :, size + 8] = 1
    return Projection(pixels, derivatives)


def _combine(values: Array, fields: Array) -> Array:
    """(T, n) times (n, 2, L, 3), or one field per frame (T, n, 2, L, 3) -> (T, 2, L, 3)."""
    if fields.ndim == 4:
        return np.tensordot(values, fields, 1)
    flat = fields.reshape(*fields.shape[:2], -1)
    return (values[:, None] @ flat).reshape(len(values), *fields.shape[2:])


def outline_rows(head: Array) -> NDArray[np.int64]:
    """(T, 3) axis-angle of the head -> (T,) row of the outline's table, as in `Flame`."""
    rotation = rotation_of(head)
    across = np.hypot(rotation[:, 0, 0], rotation[:, 1, 0])
    yaw = np.rint(np.degrees(np.arctan2(-rotation[:, 2, 0], across)).clip(-39, 39)).astype(np.int64)
    return np.where(yaw >= 0, yaw, 39 - yaw)


def cross_matrix(vectors: Array) -> Array:
    """(N, 3) -> (N, 3, 3) with cross_matrix(a) @ b = a x b."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)


def rotation_of(vectors: Array) -> Array:
    """(N, 3) axis-angle -> (N, 3, 3), Rodrigues."""
    sine, cosine, _ = _coefficients(vectors)
    cross = cross_matrix(vectors)
    return np.eye(3) + sine * cross + cosine * (cross @ cross)


def left_jacobian(vectors: Array) -> Array:
    """(N, 3, 3) with exp(v + d) = exp(left_jacobian(v) d) exp(v) to first order in d."""
    _, cosine, cubic = _coefficients(vectors)
    cross = cross_matrix(vectors)
    return np.eye(3) + cosine * cross + cubic * (cross @ cross)


def _coefficients(vectors: Array) -> tuple[Array, Array, Array]:
    """sin a / a, (1 - cos a) / a^2, (a - sin a) / a^3, each (N, 1, 1)."""
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    small = angle < 1e-4
    safe = np.where(small, 1.0, angle)
    return (
        np.where(small, 1 - angle**2 / 6, np.sin(safe) / safe),
        np.where(small, 0.5 - angle**2 / 24, (1 - np.cos(safe)) / safe**2),
        np.where(small, 1 / 6 - angle**2 / 120, (safe - np.sin(safe)) / safe**3),
    )
