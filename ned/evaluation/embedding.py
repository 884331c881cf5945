"""Embedding: whether it is still the same person, by a network that recognises faces.

Any ONNX network that turns an aligned face into numbers can be described by a YAML file
(configs/embeddings/sface.yaml is an example): `file`, `asset`, `input`, `size`, `colour`,
`layout`, `divisor`, `mean`, `std` as for classifiers, `output` (the first one if left out), and
`same_person`, the cosine above which two faces count as one person.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import AssetError, quoted
from ned.core.face.similarity import fit_similarity
from ned.evaluation.estimate import estimate
from ned.evaluation.metric import Metric, Score, Skip
from ned.evaluation.plugin import PICTURE_ENTRIES, Description, Network, describe

METRICS = (
    Metric(
        "identity.cosine", "likeness of the person", "", "higher", (-1, 1), 1.0,
        "Cosine between the face embeddings of source and result, mean over frames seen in both. "
        "Faces are aligned by eyes, nose and mouth corners.",
        "ArcFace's protocol (Deng et al., CVPR 2019); CSIM of the face reenactment literature",
    ),
    Metric(
        "identity.same", "frames recognised as the same person", "", "higher", (0, 1), 1.0,
        "Share of these frames whose cosine is at least the threshold that the embedding's "
        "authors give.",
        "threshold as in the embedding's description",
    ),
)  # fmt: skip

TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
"""(5, 2) places of the image's left and right eye, nose tip and left and right mouth corner in a
112-pixel picture, as published with ArcFace (insightface)."""
_TEMPLATE_SIZE = 112
_POINTS = ((33, 133), (362, 263), (1,), (61,), (291,))
_ENTRIES = PICTURE_ENTRIES | {"output", "same_person"}


class Embedding:
    """One network with its description; make it with `load_embedding`."""

    def __init__(self, description: Description, path: Path, threads: int | None) -> None:
        self.name = description.name
        self.path = path
        self.picture = description.picture()
        threshold = description.entries.get("same_person")
        self.same_person = None if threshold is None else description.number("same_person", 0.0)
        self._network = Network(path, description.word("input"), threads)
        self._output = self._network.output(description.word("output"))

    def crop(self, image: NDArray[np.uint8], points: NDArray[np.floating]) -> NDArray[np.float32]:
        """The aligned face, as the network wants it.

        Args:
            image: (H, W, 3) uint8 RGB. points: (478 or 468, 2) mesh points in pixels.

        Returns:
            `picture.shape` float32; black outside the image.

        Raises:
            ValueError: Points are not finite, or all in one place.
        """
        import cv2

        size = self.picture.size
        crop_from_image = fit_similarity(five_points(points), TEMPLATE * size / _TEMPLATE_SIZE)
        if not np.isfinite(crop_from_image).all():
            raise ValueError("the face has no usable points")
        face = cv2.warpAffine(image, crop_from_image, (size, size), flags=cv2.INTER_LINEAR)
        return self.picture.prepare(np.asarray(face))

    def vectors(self, crops: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, K) embeddings of length 1 of (N, ...) crops.

        Raises:
            AssetError: The network does not fit its description.
        """
        crops = np.asarray(crops, np.float32).reshape(-1, *self.picture.shape)
        (table,) = self._network.run(crops, (self._output,))
        length = np.linalg.norm(table, axis=1, keepdims=True)
        if not np.isfinite(table).all() or (length == 0).any():
            raise AssetError(f"{quoted(self.path)} gives embeddings that are zero or not finite")
        return table / length


def load_embedding(given: str | Path = "sface", threads: int | None = None) -> Embedding:
    """An embedding by description (.yaml), network (.onnx) or name.

    Raises:
        InputError: The description is unusable, or onnxruntime is not installed.
        AssetError: The network is missing or does not fit.
    """
    return Embedding(*describe(given, "embeddings", _ENTRIES, {"`ned assets`": None}), threads)


def five_points(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(5, 2) of a mesh, in the order of `TEMPLATE`; eyes are the middles of their corners, so
    that gaze does not move them."""
    mesh = np.asarray(points, np.float64)[:, :2]
    return np.stack([mesh[list(group)].mean(0) for group in _POINTS])


def identity_scores(
    embedding: Embedding,
    source: NDArray[np.float32],
    result: NDArray[np.float32],
    paired: bool = True,
    block: int = 1,
) -> tuple[list[Score], list[Skip]]:
    """Likeness of the person.

    Args:
        source, result: (N, K), (M, K) embeddings of length 1; of the same moments if `paired`,
            else every result frame is compared with the source's mean embedding.
    """
    names = tuple(metric.name for metric in METRICS)
    if not len(source) or not len(result):
        return [], [Skip(names, "the face was not seen in both")]
    if not paired:
        centre = source.mean(0)
        source = np.broadcast_to(centre / max(np.linalg.norm(centre), 1e-12), result.shape)
    cosine = np.clip((source.astype(np.float64) * result).sum(1), -1, 1)
    scores = [estimate(names[0], cosine, block=block, judge=embedding.name)]
    if embedding.same_person is None:
        return scores, [Skip(names[1:], f"{embedding.name} has no threshold (`same_person`)")]
    same = (cosine >= embedding.same_person).astype(np.float64)
    return [*scores, estimate(names[1], same, block=block, judge=embedding.name)], []
