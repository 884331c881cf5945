"""Eye landmarks: the 68 points of a face, its pupils, and the rows that NED's files hold.

68 points are counted as dlib's: 0-16 jaw from the image's left, 17-26 brows, 27-35 nose, 36-41 the
eye at the image's left, 42-47 the other, 48-59 outer lip, 60-67 inner lip. All are pixels (x, y) of
a crop, centres at whole numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# The mesh point that lies where each of the 68 is, read off pictures of MediaPipe's mesh.
MESH_OF_68 = (
    *(127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356),  # jaw
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # upper edges of the brows
    *(6, 195, 5, 1, 98, 97, 2, 326, 327),  # bridge, tip, below the nostrils
    *(33, 160, 158, 133, 153, 144),
    *(362, 385, 387, 263, 373, 380),
    *(61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91),
    *(78, 81, 13, 311, 308, 402, 14, 178),
)
_IRIS_CENTRES = (468, 473)  # of the eyes at the image's left and right
FIRST_EYE, SECOND_EYE, MOUTH = slice(36, 42), slice(42, 48), slice(48, 68)
_GRAY = (0.2125, 0.7154, 0.0721)  # of R, G, B; ITU-R BT.709


def landmarks_of_mesh(mesh: NDArray[Any]) -> NDArray[Any]:
    """The 68 points (..., 68, 2) of mesh points (..., 468 or 478, 2 or more)."""
    return np.asarray(mesh)[..., MESH_OF_68, :2]


def pupils_of_mesh(mesh: NDArray[Any]) -> NDArray[Any]:
    """Iris centres (..., 2, 2) of mesh points (..., 478, 2 or more), the image's left one first."""
    return np.asarray(mesh)[..., _IRIS_CENTRES, :2]


def pupils_of_image(image: NDArray[np.uint8], landmarks: NDArray[Any]) -> NDArray[np.float64]:
    """Pupils (2, 2) as NED finds them: the centres of what is dark between the lids.

    Pixels inside of the six lid points count by the inverse of their gray value.

    Args:
        image: (H, W, 3) RGB crop.
        landmarks: (68, 2); truncated to whole pixels.

    Returns:
        (2, 2); NaN where the landmarks are.
    """
    import cv2

    if not np.isfinite(landmarks).all():
        return np.full((2, 2), np.nan)

    gray = (image / 255.0) @ np.array(_GRAY)
    darkness = np.divide(1.0, gray, out=np.zeros_like(gray), where=gray > 0)
    points = np.trunc(landmarks).astype(np.int32)
    pupils = np.empty((2, 2))
    for row, eye in zip(pupils, (FIRST_EYE, SECOND_EYE), strict=True):
        inside = np.zeros(gray.shape, np.uint8)
        cv2.fillPoly(inside, [points[eye]], 1)
        weight = darkness * inside
        total = weight.sum()
        if total == 0:  # outside of the picture, or black
            row[:] = points[eye].mean(0)
            continue
        row[:] = weight.sum(0) @ np.arange(gray.shape[1]), weight.sum(1) @ np.arange(len(gray))
        row /= total
    return pupils


def eye_rows(
    landmarks: NDArray[Any], pupils: NDArray[Any], mouth: bool = False
) -> NDArray[np.float64]:
    """What a file of eye landmarks holds: lids, pupils and, for training, the mouth.

    Args:
        landmarks: (..., 68, 2).
        pupils: (..., 2, 2).
        mouth: whether the 20 mouth points follow.

    Returns:
        (..., 14 or 34, 2); lids and pupils are truncated to whole pixels as in NED's files, on
        which the published renderers were trained, the mouth is not.
    """
    eyes = np.concatenate([landmarks[..., 36:48, :], pupils], axis=-2).astype(np.float64)
    rows = np.trunc(eyes)
    return np.concatenate([rows, landmarks[..., MOUTH, :]], axis=-2) if mouth else rows
