"""Speech lock: what an emotion may do to a mouth that is saying something."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deca.rig import Rig
from ned.core.face import mesh as face

_CHIN = (152, 175, 199)
_PAIRS = tuple(zip(face.UPPER_INNER_LIP[1:-1], face.LOWER_INNER_LIP[1:-1], strict=True))
_MOUTH_CORNERS = (61, 291)


class SpeechLock:
    """Keeps jaw and inner-lip opening of the source under any change of units.

    On a linear face the opening between two lip points is a linear functional of the units, so
    keeping it is a projection: of all changes whose functionals are zero, the one nearest to the
    wanted change (in the metric of how far the mouth's surface moves). Jaw units never change.
    Whatever the emotion, a closed mouth then stays closed and an open one open as far.

    Lip width may change, because smiles are wide, but only within bounds.

    Attributes:
        rig: the rig whose units are locked.
        width_bounds: most by which lips may become narrower and wider, as shares of the neutral
            width; lips that are wide or narrow in the source may come halfway back besides.
    """

    def __init__(self, rig: Rig, width_bounds: tuple[float, float] = (0.15, 0.45)) -> None:
        self.rig = rig
        self.width_bounds = width_bounds
        self.jaw = np.array([name.startswith("jaw_") for name in rig.names])
        self.mouth = np.array([region == "mouth" for region in rig.regions])

    @cached_property
    def functionals(self) -> NDArray[np.float64]:
        """(F, U) opening of the inner lips at nine places and movement of the chin, per unit."""
        basis = self.rig.basis.astype(np.float64)
        rows = [basis[:, upper, 1] - basis[:, lower, 1] for upper, lower in _PAIRS]
        rows += [basis[:, point, axis] for point in _CHIN[:1] for axis in (0, 1)]
        return np.stack(rows)

    @cached_property
    def width(self) -> NDArray[np.float64]:
        """(U,) change of the distance between the mouth corners, per unit."""
        right, left = _MOUTH_CORNERS
        return (self.rig.basis[:, left, 0] - self.rig.basis[:, right, 0]).astype(np.float64)

    @cached_property
    def projector(self) -> NDArray[np.float32]:
        """(U, U) matrix applied to changes (row vectors @ projector.T) at full strength."""
        count = len(self.rig)
        free = ~self.jaw
        flat = self.rig.basis.reshape(count, -1).astype(np.float64)
        metric = flat @ flat.T + 1e-4 * np.trace(flat @ flat.T) / count * np.eye(count)
        inverse = np.zeros((count, count))
        shape = np.array([name == "face_lengthen" for name in self.rig.names])
        movable = free & self.mouth & ~shape  # that unit moves the forehead too
        inverse[np.ix_(movable, movable)] = np.linalg.inv(metric[np.ix_(movable, movable)])
        constraints = self.functionals
        gram = constraints @ inverse @ constraints.T
        correction = inverse @ constraints.T @ np.linalg.pinv(gram, rcond=1e-6) @ constraints
        lock = np.diag(free.astype(np.float64))
        return ((np.eye(count) - correction) @ lock).astype(np.float32)

    def apply(self, change: NDArray[np.float32], strength: float = 1.0) -> NDArray[np.float32]:
        """(T, U) wanted changes -> changes that leave the words alone.

        Args:
            change: change of activations relative to the source.
            strength: 1 keeps openings exactly (of the linear face); 0 lets everything pass.
        """
        locked = change @ self.projector.T
        return change + np.float32(strength) * (locked - change)

    def bound_width(
        self,
        change: NDArray[np.float32],
        units: NDArray[np.float32],
        identity: NDArray[np.float32],
        strength: float = 1.0,
    ) -> NDArray[np.float32]:
        """(T, U) change with the units that narrow (or widen) the lips too far scaled down.

        Args:
            change: wanted change. units: (T, U) of the source. identity: (468, 3) neutral face.
            strength: 0 lets everything pass.
        """
        right, left = _MOUTH_CORNERS
        neutral = float(identity[left, 0] - identity[right, 0])
        source = units @ self.width.astype(np.float32)  # wider than neutral by
        parts = change * self.width.astype(np.float32)
        narrowing, widening = np.minimum(parts, 0).sum(1), np.maximum(parts, 0).sum(1)
        most_narrow = self.width_bounds[0] * neutral + 0.5 * np.maximum(source, 0)
        most_wide = self.width_bounds[1] * neutral + 0.5 * np.maximum(-source, 0)
        keep_narrowing = _share(most_narrow + widening, -narrowing)
        keep_widening = _share(most_wide - narrowing, widening)
        share = np.where(parts < 0, keep_narrowing[:, None], keep_widening[:, None])
        return (change * (1 - np.float32(strength) * (1 - share))).astype(np.float32)

    def openings(self, units: NDArray[np.float32], identity: NDArray[np.float32]) -> NDArray:
        """(T, U) activations -> (T,) mean inner-lip opening in face units."""
        per_unit = self.functionals[: len(_PAIRS)].mean(0)
        rest = np.mean([identity[u, 1] - identity[low, 1] for u, low in _PAIRS])
        return (units @ per_unit + rest).astype(np.float32)


def _share(allowed: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float32]:
    """Share of `wanted` that stays within `allowed`; 1 where nothing is wanted."""
    return np.clip(allowed / np.maximum(wanted, 1e-6), 0, 1)
