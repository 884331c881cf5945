"""Measurement: what a tracker and a fit would make of an expression."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from deca.fitting import FittingSettings, UnitSolver
from deca.rig import Rig
from manipulator import dynamics

_FIELDS = 40
_CORRELATION = 0.4  # of landmark errors along the surface, face units
_AXES = np.array([0.7, 1.0, 0.6])  # relative size of errors in x, y, z
_FAINT, _CLEAR = (0.15, 0.45), (0.45, 1.15)  # share of an emotion's size that shows
_MOST_MIXED = 0.5
# what a smile pulls along, by its corners' amount at most: tracked smiles wrinkle the nose as much
_PULLED_ALONG = {"upper_lip_raise": 0.7, "nose_wrinkle": 0.8, "lower_lip_depress": 0.7}


@dataclass(frozen=True)
class Tracker:
    """How a clip is measured; root-mean-square errors of landmarks in face units.

    Attributes:
        trembling: from frame to frame. drifting: within seconds, such as what turns of the head
            bend. identity: of the neutral face. absorbed: share of the clip's median expression
            that the fit takes for the neutral face. seen: share of an emotion's size that shows,
            because people act and trackers see less than a prototype. uneven: how differently much
            of each part of the face shows (standard deviation of the logarithm). mixing: how much
            of an emotion's unit is found in units that move the same skin.
    """

    trembling: float
    drifting: float
    identity: float
    absorbed: float
    seen: float = 1.0
    uneven: float = 0.0
    mixing: float = 0.0

    @classmethod
    def of_a_clip(cls, generator: np.random.Generator, faint: float = 0.0) -> Tracker:
        """Errors as they were found on tracked clips, from still portraits to moving heads.

        Args:
            faint: share of clips that show very little of an emotion.
        """
        seen = _FAINT if generator.random() < faint else _CLEAR
        return cls(
            trembling=float(np.clip(generator.lognormal(np.log(0.0042), 0.6), 8e-4, 0.012)),
            drifting=float(np.clip(generator.lognormal(np.log(0.009), 0.5), 2e-3, 0.025)),
            identity=float(np.clip(generator.lognormal(np.log(0.012), 0.4), 4e-3, 0.03)),
            absorbed=generator.uniform(0, 0.15),
            seen=generator.uniform(*seen),
            uneven=generator.uniform(0.1, 0.4),
            mixing=generator.uniform(0, 0.6),
        )


@dataclass(frozen=True)
class Errors:
    """What is measured on top of an expression: (T, U) `products` with the rig's columns."""

    products: NDArray[np.float32]
    absorbed: float


@dataclass(frozen=True)
class Visibility:
    """What of an emotion is found where: (U,) `shares` that show, (U, U) `mixing` into others."""

    shares: NDArray[np.float32]
    mixing: NDArray[np.float32]

    def shown(self, change: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T, U) what a true change of units looks like."""
        shown = change * self.shares
        return shown + _MOST_MIXED * np.tanh(shown @ self.mixing / _MOST_MIXED)


def draw_visibility(tracker: Tracker, rig: Rig, generator: np.random.Generator) -> Visibility:
    """How one clip shows emotions; both sides of the face are alike within some ten percent."""
    regions = sorted(set(rig.regions))
    whole = dict(zip(regions, generator.normal(0, tracker.uneven, len(regions)), strict=True))
    both = generator.normal(0, tracker.uneven, len(rig))
    both = (both + both[rig.mirror]) / np.sqrt(2)
    sides = generator.normal(0, 0.2 * tracker.uneven, len(rig))
    logarithm = np.array([whole[region] for region in rig.regions]) + both + sides
    shares = tracker.seen * np.exp(np.clip(logarithm, -1, 0.6))
    cheeks = list(rig.columns("cheek_raise"))
    shares[cheeks] *= 1 - generator.uniform(0, 2 * tracker.uneven)  # hardly moves landmarks
    chosen = generator.exponential(1, (len(rig),) * 2) * (generator.random((len(rig),) * 2) < 0.4)
    chosen = (chosen + chosen[rig.mirror][:, rig.mirror]) / 2
    mixing = tracker.mixing * chosen * _nearness(rig)
    for unit, most in _PULLED_ALONG.items():
        share = most * min(1.6 * tracker.mixing, 1) * generator.uniform()
        for source, column in zip(rig.columns("corner_pull"), rig.columns(unit), strict=True):
            mixing[source, column] += share
    return Visibility(shares.astype(np.float32), np.minimum(mixing, 0.9).astype(np.float32))


@lru_cache(maxsize=2)
def _nearness(rig: Rig) -> NDArray[np.float32]:
    """(U, U) how much a unit moves the skin of another: 1 alike, 0 apart or against it."""
    moved, flat = np.linalg.norm(rig.basis, axis=2), rig.basis.reshape(len(rig), -1)
    sizes = np.linalg.norm(moved, axis=1)
    scale = sizes[:, None] * sizes
    alike, same_way = (moved @ moved.T) / scale, (flat @ flat.T) / scale
    near = np.where((alike > 0.2) & (same_way > -0.1), alike, 0)
    near *= np.minimum(sizes[:, None] / sizes, 1.5)
    np.fill_diagonal(near, 0)
    kept = [name.startswith(("jaw_", "lid_close", "face_")) for name in rig.names]
    near[:, kept] = 0
    return near.astype(np.float32)


def draw_errors(
    count: int, tracker: Tracker, rig: Rig, generator: np.random.Generator, frame_rate: float = 25.0
) -> Errors:
    """Errors of one clip: smooth fields over the face that tremble, drift and stay."""
    fields = _field_products(rig)
    size = len(fields)
    trembling = dynamics.smooth(generator.standard_normal((count, size)).astype(np.float32), 0.45)
    drifting = dynamics.drift(count, size, 0.5 * frame_rate, generator)
    identity = generator.standard_normal(size).astype(np.float32)
    total = tracker.trembling * trembling + tracker.drifting * drifting
    return Errors((total + tracker.identity * identity) @ fields, tracker.absorbed)


def measure(
    expressions: list[NDArray[np.float32]], errors: list[Errors], rig: Rig
) -> list[NDArray[np.float32]]:
    """Units (T, U) that fitting would find for true expressions (T, U), one array per clip.

    The last step of `deca.fitting.fit` (non-negative, sparse, smooth least squares) on the true
    displacement plus errors, minus the share of its median that passes for the neutral face.
    """
    settings = FittingSettings()
    solver = UnitSolver(rig, settings)
    columns = solver.products(rig.basis)
    products = [
        (units - error.absorbed * np.median(units, axis=0)) @ columns + error.products
        for units, error in zip(expressions, errors, strict=True)
    ]
    lengths = [len(units) for units in expressions]
    links = np.full(max(sum(lengths) - 1, 0), settings.smoothness, np.float32)
    ends = np.cumsum(lengths)[:-1]
    links[ends - 1] = 0  # clips do not touch
    measured = solver.solve(np.concatenate(products).astype(np.float32), links)
    return np.split(measured, ends)


@lru_cache(maxsize=2)
def _field_products(rig: Rig) -> NDArray[np.float32]:
    """(F, U) products of random smooth fields (unit size on average) with the rig's columns."""
    correlation = np.exp(-rig.mesh.geodesic.astype(np.float64) / _CORRELATION)
    values, vectors = np.linalg.eigh(correlation)
    values, vectors = values[-_FIELDS:], vectors[:, -_FIELDS:]
    shapes = (vectors * np.sqrt(values)).T  # (F, 468)
    fields = shapes[:, None, :, None] * np.diag(_AXES)[None, :, None, :]
    fields = fields.reshape(-1, 468, 3)
    # rigid movement would be taken for pose
    rigid = _rigid(rig.mesh.neutral)
    flat = fields.reshape(len(fields), -1)
    flat = flat - (flat @ rigid.T) @ rigid
    return UnitSolver(rig, FittingSettings()).products(flat.reshape(-1, 468, 3).astype(np.float32))


def _rigid(shape: NDArray[np.float32]) -> NDArray[np.float64]:
    """(7, 1404) orthonormal small shifts, turns and growth of a (468, 3) shape."""
    centred = shape - shape.mean(0)
    rows = [np.broadcast_to(axis, shape.shape) for axis in np.eye(3)]
    rows += [np.cross(axis, centred) for axis in np.eye(3)]
    rows.append(centred)
    flat = np.stack([row.reshape(-1) for row in rows]).astype(np.float64)
    return np.linalg.qr(flat.T)[0].T
