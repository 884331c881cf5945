"""FanLandmarks: 68 landmarks by the package `face-alignment`, as NED finds them (optional).

The package needs torch but no torchvision. It wants opencv-python, which shares its files with our
opencv-contrib-python (the extra keeps both at one release), and downloads its networks when it is
first used. The mesh needs none of that and is the default.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import AssetError, InputError


class FanLandmarks:
    """Detects the first face of a crop: S3FD, then FAN, without averaging over flips."""

    def __init__(self, device: Literal["cpu", "cuda"] = "cpu") -> None:
        """Load the networks.

        Raises:
            AssetError: The package is missing, or its networks cannot be had.
        """
        try:
            import face_alignment  # type: ignore[import-not-found]
        except ImportError as error:
            raise AssetError(
                "landmarks 'face-alignment' need a package that is not installed; "
                "pip install 'ned[landmarks68]', or use landmarks 'mesh'"
            ) from error
        kinds: Any = face_alignment.LandmarksType
        kind = kinds.TWO_D if hasattr(kinds, "TWO_D") else kinds._2D  # before release 1.4
        try:
            self._network = face_alignment.FaceAlignment(kind, flip_input=False, device=device)
        except OSError as error:  # no network, and urllib's errors
            raise AssetError(
                f"the networks of face-alignment cannot be had ({error}); "
                "it downloads them on its first use; connect once, or use landmarks 'mesh'"
            ) from error

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Landmarks (68, 2) of an RGB picture (H, W, 3) in pixels, None without a face.

        Raises:
            InputError: The picture has another shape.
        """
        if image.ndim != 3 or image.shape[2] != 3:
            raise InputError(f"a picture of shape {image.shape} was given; (H, W, 3) is needed")
        found = self._network.get_landmarks_from_image(image)
        return np.asarray(found[0], np.float32) if found is not None and len(found) else None
