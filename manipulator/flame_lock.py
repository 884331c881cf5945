"""FlameLock: what an emotion may do to the mouth of a FLAME face that is saying something."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from deca.flame import Flame

_JAW = 2  # joint
# Upper and lower inner lip among the 51 inner landmarks (61-67, 62-66, 63-65 of the 68), the chin
# among all 68, and pairs of MediaPipe's points.
_PAIRS = ((44, 50), (45, 49), (46, 48))
_CHIN = 8
_MESH_PAIRS = (
    *((13, 14), (82, 87), (312, 317), (81, 178), (311, 402), (80, 88), (310, 318)),
    *((191, 95), (415, 324)),
)
_RIDGE = 1e-2  # so that codes that hardly move the face do not grow large


class FlameLock:
    """Keeps jaw and inner-lip opening of the source under any change of expression.

    Points of the posed face are linear in the expression as long as the jaw does not turn (and it
    is kept), so that openings between lips are linear functionals, with rows that depend on the
    frame's jaw. As with the rig, of all changes that these functionals do not see, the one nearest
    to the wanted change is taken, in the metric of how far the surface moves.
    """

    def __init__(self, flame: Flame, expressions: int = 50) -> None:
        basis = flame.expression[:expressions].double().numpy().reshape(expressions, -1, 3)
        self._skinned = flame.weights[:, _JAW].double().numpy()
        flat = basis.reshape(expressions, -1)
        metric = flat @ flat.T
        metric += _RIDGE * np.trace(metric) / expressions * np.eye(expressions)
        self._inverse = np.linalg.inv(metric)
        self._joint = np.einsum("v,evc->ec", flame.regressor[_JAW].double().numpy(), basis)

        def points(name: str, index: int) -> tuple[NDArray, NDArray]:
            corners = flame.get_buffer(f"{name}_corners")[index].numpy()
            weights = flame.get_buffer(f"{name}_weights")[index].double().numpy()
            turned = weights * self._skinned[corners]
            still = np.einsum("k,ekc->ec", weights - turned, basis[:, corners])
            moved = np.einsum("k,ekc->ec", turned, basis[:, corners])
            moved -= turned.sum() * self._joint
            return still + turned.sum() * self._joint, moved

        rows = [(points("static", upper), points("static", lower)) for upper, lower in _PAIRS]
        places = {int(point): k for k, point in enumerate(flame.mediapipe_points)}
        rows += [
            (points("mediapipe", places[upper]), points("mediapipe", places[lower]))
            for upper, lower in _MESH_PAIRS
            if upper in places and lower in places
        ]
        still = [upper[0] - lower[0] for upper, lower in rows]
        moved = [upper[1] - lower[1] for upper, lower in rows]
        chin = points("full", _CHIN)
        self._still, self._moved = np.stack([*still, chin[0]]), np.stack([*moved, chin[1]])

    def functionals(self, jaw: NDArray[np.floating]) -> NDArray[np.float64]:
        """(T, 3) axis-angles of the jaw -> (T, F, E) opening in metres per unit of expression.

        The last row is the height of the chin.
        """
        from scipy.spatial.transform import Rotation

        up = Rotation.from_rotvec(np.asarray(jaw, np.float64)).as_matrix()[:, 1]
        return self._still[None, ..., 1] + np.einsum("tc,fec->tfe", up, self._moved)

    def apply(
        self, change: NDArray[np.float32], jaw: NDArray[np.floating], strength: float = 1.0
    ) -> NDArray[np.float32]:
        """(T, E) wanted changes of expression -> changes that leave the words alone.

        Args:
            jaw: (T, 3) axis-angles of the source's jaw, which is kept.
            strength: 1 keeps openings exactly, 0 lets everything pass.
        """
        rows = self.functionals(jaw)
        back = self._inverse @ rows.transpose(0, 2, 1)
        inner = np.linalg.pinv(rows @ back, rcond=1e-10, hermitian=True)
        seen = rows @ change.astype(np.float64)[..., None]
        return (change - strength * (back @ inner @ seen)[..., 0]).astype(np.float32)
