"""Examples: pairs for a hybrid renderer out of an actor's own footage: a warped face, the filmed.

Three kinds, mixed at random: another frame, mostly of a similar pose, warped onto the wanted one; a
frame a moment away; and the wanted frame itself, warped away by random units and back, which costs
what directing costs. What is remembered comes from a second away at least, and at times it is wrong
on purpose, so that the network learns when not to trust it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from deca.rig import Rig
from renderer.hybrid.footage import SEEN, Footage, mouth_middle, stacked
from renderer.hybrid.memory import Recalled, angles, chosen, edited, onto
from renderer.warp.renderer import FaceEdit, WarpRenderer

_KINDS = {"similar pose": 0.45, "any": 0.2, "moment away": 0.1, "there and back": 0.25}
_SIMILAR = 0.2  # radians
_MOMENT = 5  # frames
_APART = 1.0  # seconds between a frame and what it remembers
_WRONG = 0.08  # share of halves of a face that remember something else
_UNITS = (2, 6)  # how many units a warp there and back moves
_GROWTH, _SHIFT, _TURN = 0.04, 4 / 256, 2.5  # deviations: scale, shift in sides, turn in degrees
_LIGHT = 0.05  # deviation of the logarithm of every channel's light
_REACH = (0.13, 0.1)  # deviations of the weight around the mouth, in sides


@dataclass(frozen=True, eq=False)
class Batch:
    """B examples, float32, channels first.

    Attributes:
        seen: (B, 13, S, S), see `HybridNetwork.forward`. wanted: (B, 3, S, S) in [-1, 1].
        mouth: (B, 1, S, S) from 0 to 1 in the middle of the mouth.
    """

    seen: NDArray[np.float32]
    wanted: NDArray[np.float32]
    mouth: NDArray[np.float32]


class Examples:
    """Draws examples of footage; the same for the same seed and step.

    Attributes:
        memory: the frames of the footage that are remembered.
    """

    def __init__(self, footage: Footage, rig: Rig, seed: int = 0) -> None:
        self.footage, self.rig, self.seed = footage, rig, seed
        kept = chosen(footage.descriptors)
        self.memory = footage.memory(kept)
        self._warp = WarpRenderer()
        self._rows = np.arange(len(footage))
        mouth, upper = footage.descriptors.distances(self.memory.descriptors)
        far = _far(footage, kept)
        self._nearest = [np.where(far, cost, np.inf).argmin(1) for cost in (mouth, upper)]

    def batch(self, step: int, count: int) -> Batch:
        """`count` examples of a step, each moved, turned and lit a little at random."""
        random = np.random.default_rng([self.seed, step])
        return packed([self._example(random) for _ in range(count)])

    def _example(self, random: np.random.Generator) -> tuple[NDArray, NDArray, NDArray]:
        footage = self.footage
        target = int(random.integers(len(footage)))
        warped = self._warped(target, random)
        recalled = self._recalled(0, target, random), self._recalled(1, target, random)
        landmarks, rotation = footage.landmarks[target], footage.descriptors.rotation[target]
        remembered = self.memory.picture(recalled, landmarks, rotation, self._warp)
        seen = stacked(warped, footage.conditioning[target], remembered)
        layers = [seen, footage.pictures[target], mouth_weight(landmarks, len(warped))]
        whole = _moved(np.concatenate(layers, axis=-1), random).astype(np.float32)
        light = np.exp(_LIGHT * random.standard_normal(3)).astype(np.float32)
        for first in (0, 8, SEEN):
            whole[..., first : first + 3] *= light
        return whole[..., :SEEN], whole[..., SEEN:-1], whole[..., -1:]

    def _recalled(self, half: int, target: int, random: np.random.Generator) -> Recalled:
        if random.random() < _WRONG:
            return [(int(random.integers(len(self.memory))), 1.0)]
        return [(int(self._nearest[half][target]), 1.0)]

    def _warped(self, target: int, random: np.random.Generator) -> NDArray[np.uint8]:
        footage = self.footage
        kind = str(random.choice(list(_KINDS), p=list(_KINDS.values())))
        rotation = footage.descriptors.rotation
        landmarks = footage.landmarks[target]
        if kind == "there and back":
            moves = self._moves(target, random)
            there = FaceEdit(landmarks, rotation[target], moves)
            moved = landmarks.copy()
            moved[:468, :2] += moves * self._warp.facing(rotation[target])[:, None]
            picture = edited(footage.pictures[target], there, self._warp)[..., :3]
            return onto(picture, moved, landmarks, rotation[target], self._warp)
        rows = self._rows
        if kind == "moment away":
            near = np.abs(rows - target) <= _MOMENT
            rows = rows[near & (footage.take == footage.take[target])]
        elif kind == "similar pose":
            rows = rows[angles(rotation[target][None], rotation)[0] < _SIMILAR]
        source = int(random.choice(rows))
        return onto(
            footage.pictures[source],
            footage.landmarks[source],
            landmarks,
            rotation[target],
            self._warp,
        )

    def _moves(self, target: int, random: np.random.Generator) -> NDArray[np.float32]:
        """(468, 2) crop pixels by which a few random units move the face."""
        change = np.zeros(len(self.rig), np.float32)
        some = random.choice(len(change), int(random.integers(*_UNITS, endpoint=True)), False)
        change[some] = random.uniform(-0.3, 1.0, len(some))
        moved = self.rig.displacement(change[None])[0]
        return (moved @ self.footage.crop_from_head[target].T).astype(np.float32)


def _far(footage: Footage, kept: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n, m) whether the m kept rows are of another take or a second away from the n frames.

    Where that leaves nothing, what is furthest away.
    """
    apart = np.abs(footage.time[:, None] - footage.time[kept])
    apart = np.where(footage.take[:, None] == footage.take[kept], apart, np.inf)
    return (apart >= _APART) | (apart >= apart.max(1, keepdims=True))


def mouth_weight(landmarks: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    """(S, S, 1) from 255 in the middle of the mouth down to 0."""
    x, y = mouth_middle(landmarks)
    across = np.exp(-(((np.arange(size) + 0.5 - x) / (_REACH[0] * size)) ** 2) / 2)
    down = np.exp(-(((np.arange(size) + 0.5 - y) / (_REACH[1] * size)) ** 2) / 2)
    return (255 * down[:, None, None] * across[None, :, None]).astype(np.uint8)


def packed(examples: list[tuple[NDArray, NDArray, NDArray]]) -> Batch:
    """Examples of bytes (seen, wanted, mouth; channels last) as networks take them."""
    seen, wanted, mouth = (
        np.stack(part).astype(np.float32).transpose(0, 3, 1, 2) / 255
        for part in zip(*examples, strict=True)
    )
    for pictures in (seen[:, :3], seen[:, 8:11], wanted):
        pictures *= 2
        pictures -= 1
    return Batch(seen, wanted, mouth)


def _moved(layers: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    size = len(layers)
    moved = cv2.getRotationMatrix2D(
        (size / 2, size / 2),
        _TURN * random.standard_normal(),
        float(np.exp(_GROWTH * random.standard_normal())),
    )
    moved[:, 2] += _SHIFT * size * random.standard_normal(2)
    parts = [
        cv2.warpAffine(
            np.ascontiguousarray(layers[..., k : k + 3]),
            moved,
            (size, size),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        for k in range(0, layers.shape[-1], 3)
    ]
    return np.concatenate(parts, axis=-1)
