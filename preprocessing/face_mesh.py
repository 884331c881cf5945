"""FaceMesh: MediaPipe's 478-point mesh inside rotated square windows of an image."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocessing.framework import load_mediapipe, quiet_stderr
from preprocessing.window import Window, crop

_CROP = 192  # pixels, input side of the network

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


class FaceMesh:
    """Runs the face mesh network; use as a context manager, or call `close`.

    It has no memory: the same picture gives the same mesh, whatever came before.
    """

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

    def landmarks(
        self, image: NDArray[np.uint8], windows: Sequence[Window]
    ) -> list[tuple[NDArray[np.float32], float]]:
        """Fit the mesh to what each of the windows shows.

        Args:
            image: (H, W, 3) RGB.
            windows: Close together; where a face is expected, its eyes level, the face about two
                thirds of the side.

        Returns:
            For every window landmarks (478, 3) in image pixels with pixel centres at .5 (z in the
            same unit, smaller is nearer), and the network's own probability in [0, 1] that the
            window shows a face.
        """
        results = []
        for window, pixels in zip(windows, crop(image, windows, _CROP), strict=True):
            points, presence = self._run(pixels)
            matrix = window.image_from_crop().astype(np.float32)
            placed = points * np.float32(window.side)
            placed[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
            results.append((placed, presence))
        return results

    def _run(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
        """Landmarks (478, 3) in units of the crop's side, and the presence."""
        self._timestamp += 1
        packet = self._create_image(pixels).at(self._timestamp)
        self._graph.add_packet_to_input_stream("image", packet)
        self._graph.wait_until_idle()
        landmarks = self._read.get_proto(self._latest["landmarks"]).landmark
        points = np.array([(point.x, point.y, point.z) for point in landmarks], np.float32)
        return points, float(self._read.get_float(self._latest["presence"]))

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
