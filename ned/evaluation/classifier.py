"""Classifier: an ONNX network that names the emotion of a face, described by a small YAML.

A description says (docs: configs/classifiers/*.yaml are examples):

    file       .onnx file beside the description (of shipped ones: looked for, see `asset`)
    asset      name in `ned assets` of that file
    input      name of the network's picture input, if it has several
    size, colour, layout, divisor, mean, std
               see evaluation.plugin.Picture; rgb, nchw, 255, 0, 1 if left out
    raised, half_side
               the crop: a square around the box of the 468 mesh points, its centre raised by this
               share of the box's height, half its side this factor of the box's larger side
    scores     output with the scores; the first one if left out
    labels     our names of its columns, from the first on
    softmax    true if the scores still need it
    valence, arousal
               {output: name, column: number}; output as in `scores` if left out
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import AssetError, InputError, quoted
from ned.core.script.emotions import ALIASES, EMOTIONS
from ned.evaluation.plugin import PICTURE_ENTRIES, Description, Network, describe

_ENTRIES = (
    PICTURE_ENTRIES
    | {"raised", "half_side", "scores", "labels", "softmax"}
    | {"valence", "arousal"}
)
_MESH = 468  # landmarks without the irises
_TOLERANCE = 0.01  # of probabilities that should sum to 1


@dataclass(frozen=True)
class Affect:
    """What a classifier says of N faces.

    Attributes:
        probabilities: (N, C) float32, columns as `Classifier.labels`, rows sum to 1.
        valence, arousal: (N,) float32, about -1 to 1; None where the network has none.
    """

    probabilities: NDArray[np.float32]
    valence: NDArray[np.float32] | None
    arousal: NDArray[np.float32] | None


@dataclass(frozen=True)
class _Column:
    output: str
    column: int


class Classifier:
    """One network with its description; make it with `load_classifier`."""

    def __init__(self, description: Description, path: Path, threads: int | None) -> None:
        self.name = path.stem if len(description.files) > 1 else description.name
        self.labels = _labels(description)
        self.picture = description.picture()
        self._raised = description.number("raised", 0.0)
        self._half_side = description.number("half_side", 0.6)
        if self._half_side <= 0:
            raise description.wrong("half_side", "a number above 0")
        softmax = description.entries.get("softmax", False)
        if not isinstance(softmax, bool):
            raise description.wrong("softmax", "true or false")
        self._softmax = softmax
        columns = [_column(description, key) for key in ("valence", "arousal")]
        self.path = path
        self._network = Network(path, description.word("input"), threads)
        self._scores = self._network.output(description.word("scores"))
        self._affect = [
            column and _Column(self._network.output(column[0] or self._scores), column[1])
            for column in columns
        ]

    @property
    def has_affect(self) -> bool:
        """True if it gives valence and arousal."""
        return all(column is not None for column in self._affect)

    def crop(self, image: NDArray[np.uint8], points: NDArray[np.floating]) -> NDArray[np.float32]:
        """The square that the network wants to see of one face.

        Args:
            image: (H, W, 3) uint8 RGB. points: (478 or 468, 2) mesh points in pixels.

        Returns:
            `picture.shape` float32; what lies outside the image repeats its border.

        Raises:
            ValueError: Points are not finite.
        """
        mesh = np.asarray(points)[:_MESH, :2]
        if not np.isfinite(mesh).all():
            raise ValueError("the face has points that are not finite")
        low, high = mesh.min(0), mesh.max(0)
        width, height = high - low
        x, y = (low + high) / 2
        y -= self._raised * height
        half = self._half_side * max(width, height)
        left, top = round(float(x - half)), round(float(y - half))
        part = _square(image, left, top, max(1, round(float(2 * half))))
        return self.picture.prepare(part)

    def scores(self, crops: NDArray[np.float32]) -> Affect:
        """Probabilities, and valence and arousal where there are any, of (N, ...) crops.

        Raises:
            AssetError: The network does not fit its description.
        """
        crops = np.asarray(crops, np.float32).reshape(-1, *self.picture.shape)
        if not len(crops):
            none = np.zeros(0, np.float32)
            empty = [none if column is not None else None for column in self._affect]
            return Affect(np.zeros((0, len(self.labels)), np.float32), *empty)
        wanted = [self._scores, *(c.output for c in self._affect if c is not None)]
        names = tuple(dict.fromkeys(wanted))
        found = dict(zip(names, self._network.run(crops, names), strict=True))
        table = self._columns(found[self._scores], len(self.labels))[:, : len(self.labels)]
        if self._softmax:
            powers = np.exp(table - table.max(1, keepdims=True))
            table = powers / powers.sum(1, keepdims=True)
        elif table.min() < -_TOLERANCE or np.abs(table.sum(1) - 1).max() > _TOLERANCE:
            raise AssetError(
                f"{quoted(self._network.path)} gives scores that are no probabilities; "
                "write `softmax: true` in its description"
            )
        affect = [
            self._columns(found[c.output], c.column + 1)[:, c.column] if c is not None else None
            for c in self._affect
        ]
        return Affect(table, *affect)

    def _columns(self, table: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        if table.shape[1] < count:
            raise AssetError(
                f"{quoted(self._network.path)} gives {table.shape[1]} scores, its description "
                f"speaks of {count}; check labels and columns"
            )
        if not np.isfinite(table).all():
            raise AssetError(f"{quoted(self._network.path)} gives scores that are not finite")
        return table


def load_classifier(given: str | Path, threads: int | None = None) -> Classifier:
    """A classifier by description, network or name.

    Args:
        given: a .yaml description; an .onnx network with a description beside it (same name) or
            known by its name; or a name such as "hsemotion" or "fer_mini_a".
        threads: that compute one operator; onnxruntime's own choice if None.

    Raises:
        InputError: The description is unusable, or onnxruntime is not installed.
        AssetError: The network is missing or does not fit.
    """
    folder = os.environ.get("NED_JUDGE")
    shelves = {"NED_JUDGE (a folder)": Path(folder) if folder else None}
    return Classifier(*describe(given, "classifiers", _ENTRIES, shelves), threads)


def find_classifiers(folder: Path, threads: int | None = None) -> list[Classifier]:
    """All classifiers of a folder: its descriptions, and networks that are known by their names.

    Raises:
        InputError: There are none. AssetError: One of them is unusable.
    """
    descriptions = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    described = {path.stem for path in descriptions}
    networks = [path for path in sorted(folder.glob("*.onnx")) if path.stem not in described]
    found = [load_classifier(path, threads) for path in descriptions]
    taken = {classifier.path for classifier in found}
    for path in networks:
        if path not in taken:
            found.append(load_classifier(path, threads))
    if not found:
        raise InputError(f"{quoted(folder)} holds no classifiers (.yaml or .onnx files)")
    return found


def _labels(description: Description) -> tuple[str, ...]:
    labels = description.entries.get("labels")
    if not isinstance(labels, list) or not 2 <= len(labels) <= len(EMOTIONS):
        raise description.wrong("labels", f"a list of two or more of {', '.join(EMOTIONS)}")
    names = tuple(_label(word) for word in labels)
    if not all(name in EMOTIONS for name in names) or len(set(names)) != len(names):
        raise description.wrong("labels", f"each of {', '.join(EMOTIONS)} once at most")
    return names


def _label(word: object) -> str:
    name = str(word).lower()
    return ALIASES.get(name, name)


def _column(description: Description, key: str) -> tuple[str | None, int] | None:
    entry = description.entries.get(key)
    if entry is None:
        return None
    row = entry if isinstance(entry, dict) else {}
    output = row.get("output")
    column = row.get("column", None if output is None else 0)
    fits = isinstance(output, str | None) and not set(row) - {"output", "column"}
    if not isinstance(column, int) or isinstance(column, bool) or column < 0 or not fits:
        raise description.wrong(key, "{output: name, column: number from 0}")
    return output, column


def _square(image: NDArray[np.uint8], left: int, top: int, side: int) -> NDArray[np.uint8]:
    """(side, side, 3) of an image; border pixels repeated outside."""
    height, width = image.shape[:2]
    if left >= 0 and top >= 0 and left + side <= width and top + side <= height:
        return image[top : top + side, left : left + side]
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    return image[rows[:, None], columns]
