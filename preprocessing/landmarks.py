"""FaceMesh: MediaPipe's 478-point mesh inside one rotated square window of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.track import MESH_POINTS
from preprocessing.framework import load_mediapipe, quiet_stderr

WINDOW_PER_BOX = 1.5  # side of the window per longer side of the box around the mesh
_CROP = 192  # pixels, input side of the network
_RIGHT_EYE, _LEFT_EYE = 33, 263  # outer corners, in the actor's terms

# The network's own graph instead of `solutions.face_mesh`: it has no detector and no state, so one
# instance serves all faces, and it reports the presence score that the solution keeps to itself.
_GRAPH = """
input_stream: "image"
input_side_packet: "with_attention"
output_stream: "landmarks"
output_stream: "presence"
node {
  calculator: "FaceLandmarksModelLoader"
  input_side_packet: "WITH_ATTENTION:with_attention"
  output_side_packet: "MODEL:model"
}
node {
  calculator: "TfLiteCustomOpResolverCalculator"
  output_side_packet: "OP_RESOLVER:operations"
  options { [mediapipe.TfLiteCustomOpResolverCalculatorOptions.ext] { use_gpu: false } }
}
node {
  calculator: "ImageToTensorCalculator"
  input_stream: "IMAGE:image"
  output_stream: "TENSORS:pixels"
  options {
    [mediapipe.ImageToTensorCalculatorOptions.ext] {
      output_tensor_width: 192
      output_tensor_height: 192
      output_tensor_float_range { min: 0.0 max: 1.0 }
    }
  }
}
node {
  calculator: "InferenceCalculator"
  input_stream: "TENSORS:pixels"
  input_side_packet: "MODEL:model"
  input_side_packet: "OP_RESOLVER:operations"
  output_stream: "TENSORS:tensors"
  options {
    [mediapipe.InferenceCalculatorOptions.ext] { delegate { xnnpack { num_threads: 1 } } }
  }
}
node {
  calculator: "SplitTensorVectorCalculator"
  input_stream: "tensors"
  output_stream: "points"
  output_stream: "flag"
  options {
    [mediapipe.SplitVectorCalculatorOptions.ext] {
      ranges { begin: 0 end: 6 }
      ranges { begin: 6 end: 7 }
    }
  }
}
node {
  calculator: "TensorsToFaceLandmarksWithAttention"
  input_stream: "TENSORS:points"
  output_stream: "LANDMARKS:landmarks"
}
node {
  calculator: "TensorsToFloatsCalculator"
  input_stream: "TENSORS:flag"
  output_stream: "FLOAT:presence"
  options { [mediapipe.TensorsToFloatsCalculatorOptions.ext] { activation: SIGMOID } }
}
"""


@dataclass(frozen=True)
class Window:
    """A rotated square of an image that is shown to the network.

    Attributes:
        centre: (x, y) in image pixels.
        side: Length of its sides in pixels.
        angle: Radians from the image's x axis to the window's, clockwise as seen on screen.
    """

    centre: tuple[float, float]
    side: float
    angle: float

    @classmethod
    def around(cls, points: NDArray[np.float32], scale: float = WINDOW_PER_BOX) -> Window:
        """The window that suits a face whose landmarks are `points`, (478, 3) image pixels."""
        eyes = points[_LEFT_EYE, :2] - points[_RIGHT_EYE, :2]
        low, high = points[:MESH_POINTS, :2].min(0), points[:MESH_POINTS, :2].max(0)
        centre = (low + high) / 2
        return cls(
            centre=(float(centre[0]), float(centre[1])),
            side=scale * float((high - low).max()),
            angle=math.atan2(float(eyes[1]), float(eyes[0])),
        )

    def image_from_crop(self) -> NDArray[np.float64]:
        """(2, 3) map of the unit square to image pixels (both with pixel centres at .5)."""
        cosine, sine = self.side * math.cos(self.angle), self.side * math.sin(self.angle)
        x, y = self.centre
        return np.array(
            [
                [cosine, -sine, x - 0.5 * cosine + 0.5 * sine],
                [sine, cosine, y - 0.5 * sine - 0.5 * cosine],
            ]
        )

    def crop(self, image: NDArray[np.uint8], pixels: int = _CROP) -> NDArray[np.uint8]:
        """The window resampled to (pixels, pixels, 3), repeating the image's border outside.

        Large windows are first averaged over whole blocks of pixels: without that they alias, and
        the landmarks tremble.
        """
        matrix = self.image_from_crop()
        corners = matrix @ np.array([[0, 1, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1]])
        height, width = image.shape[:2]
        left, top = np.floor(corners.min(1)).astype(int) - 1
        right, bottom = np.ceil(corners.max(1)).astype(int) + 1
        left, right = int(np.clip(left, 0, width - 1)), int(np.clip(right, 1, width))
        top, bottom = int(np.clip(top, 0, height - 1)), int(np.clip(bottom, 1, height))
        region = image[top : max(bottom, top + 1), left : max(right, left + 1)]
        block = max(1, int(self.side / pixels))
        block = min(block, region.shape[0], region.shape[1])
        if block > 1:
            rows, columns = region.shape[0] // block, region.shape[1] // block
            region = cv2.resize(
                region[: rows * block, : columns * block],
                (columns, rows),
                interpolation=cv2.INTER_AREA,
            )
        # OpenCV counts pixel centres as whole numbers.
        sampled = matrix.copy()
        sampled[:, 2] += matrix[:, :2].sum(1) * 0.5 / pixels
        sampled[:, :2] /= pixels
        sampled[:, 2] = (sampled[:, 2] - (left, top)) / block - 0.5
        sampled[:, :2] /= block
        return cv2.warpAffine(
            region,
            sampled,
            (pixels, pixels),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.uint8, copy=False)


class FaceMesh:
    """Runs the face mesh network; use as a context manager, or call `close`."""

    def __init__(self) -> None:
        framework = load_mediapipe()
        self._create_image = framework["create_image"]
        self._read = framework["read"]
        self._latest: dict[str, Any] = {}
        self._timestamp = 0
        with quiet_stderr():
            self._graph = framework["graph"](graph_config=_GRAPH)
            for name in ("landmarks", "presence"):
                self._graph.observe_output_stream(name, self._latest.__setitem__, True)
            self._graph.start_run({"with_attention": framework["create_bool"](True)})
            self._run(np.zeros((_CROP, _CROP, 3), np.uint8))  # the delegate speaks on first use

    def _run(self, crop: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        self._timestamp += 1
        self._graph.add_packet_to_input_stream(
            "image", self._create_image(crop).at(self._timestamp)
        )
        self._graph.wait_until_idle()
        landmarks = self._read.get_proto(self._latest["landmarks"]).landmark
        points = np.array([(point.x, point.y, point.z) for point in landmarks], np.float32)
        return points, float(self._read.get_float(self._latest["presence"]))

    def landmarks(
        self, image: NDArray[np.uint8], window: Window
    ) -> tuple[NDArray[np.float32], float]:
        """Fit the mesh to what `window` shows.

        Args:
            image: (H, W, 3) RGB.
            window: Where a face is expected, eyes level, face about two thirds of the side.

        Returns:
            Landmarks (478, 3) in image pixels with pixel centres at .5 (z in the same unit, smaller
            is nearer), and the network's own probability in [0, 1] that the window shows a face.
        """
        points, presence = self._run(window.crop(image))
        matrix = window.image_from_crop()
        placed = np.empty_like(points)
        placed[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        placed[:, 2] = points[:, 2] * window.side
        return placed, presence

    def close(self) -> None:
        """Free the network; the object cannot be used afterwards."""
        self._graph.close()

    def __enter__(self) -> FaceMesh:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
