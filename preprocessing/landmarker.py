"""Landmarker: MediaPipe's Face Landmarker bundle in place of the mesh in its wheel; blendshapes.

The bundle (asset "face-landmarker") holds a newer mesh network and one that names what the face
does, by ARKit's 52 blendshapes (Grishchenko et al., "Blendshapes GHUM", 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import AssetError, quoted
from preprocessing.framework import load_mediapipe, quiet_stderr
from preprocessing.window import Window, crop

_CROP = 256  # pixels of the picture that the bundle is shown


class Landmarker:
    """Runs the bundle; the same interface as `FaceMesh`, and `blendshapes`.

    Raises:
        AssetError: the file is not a bundle that this MediaPipe can run.
    """

    def __init__(self, bundle: Path) -> None:
        load_mediapipe()
        with quiet_stderr():
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision

            self._image, self._rgb = mediapipe.Image, mediapipe.ImageFormat.SRGB
            try:
                options = vision.FaceLandmarkerOptions(
                    base_options=BaseOptions(model_asset_buffer=bundle.read_bytes()),
                    output_face_blendshapes=True,
                    num_faces=1,
                )
                self._task = vision.FaceLandmarker.create_from_options(options)
                self._run(np.zeros((_CROP, _CROP, 3), np.uint8))  # networks speak on first use
            except (OSError, RuntimeError, ValueError) as error:
                raise AssetError(
                    f"{quoted(bundle)} is not a Face Landmarker bundle that MediaPipe can run; "
                    "get it again with `ned assets fetch face-landmarker`"
                ) from error

    def landmarks(
        self, image: NDArray[np.uint8], windows: Sequence[Window]
    ) -> list[tuple[NDArray[np.float32], float]]:
        """Fit the mesh to what each of the windows shows; see `FaceMesh.landmarks`.

        The bundle tells no probability: 1 where it finds a face, else 0 with points in the
        window's middle.
        """
        results = []
        for window, pixels in zip(windows, crop(image, windows, _CROP), strict=True):
            found = self._run(pixels)
            points = np.full((478, 3), (0.5, 0.5, 0), np.float32)
            if found.face_landmarks:
                points = np.array([(p.x, p.y, p.z) for p in found.face_landmarks[0]], np.float32)
            matrix = window.image_from_crop().astype(np.float32)
            placed = points * np.float32(window.side)
            placed[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
            results.append((placed, 1.0 if found.face_landmarks else 0.0))
        return results

    def blendshapes(self, image: NDArray[np.uint8], window: Window) -> dict[str, float]:
        """What the face in a window does: {ARKit's name: 0 to 1}; empty where there is none."""
        found = self._run(crop(image, [window], _CROP)[0])
        if not found.face_blendshapes:
            return {}
        return {shape.category_name: float(shape.score) for shape in found.face_blendshapes[0]}

    def _run(self, pixels: NDArray[np.uint8]) -> Any:
        image = self._image(image_format=self._rgb, data=np.ascontiguousarray(pixels))
        return self._task.detect(image)

    def close(self) -> None:
        """Free the networks; the object cannot be used afterwards."""
        self._task.close()

    def __enter__(self) -> Landmarker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
