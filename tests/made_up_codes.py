"""Made-up FLAME codes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deca.flame_codes import FlameCodes


def flame_codes(frames: int, seed: int = 0, first: int = 0) -> FlameCodes:
    generator = np.random.default_rng(seed)

    def normal(*shape: int) -> NDArray[np.float32]:
        return generator.normal(scale=0.3, size=shape).astype(np.float32)

    return FlameCodes(
        shape=normal(frames, 100),
        expression=normal(frames, 50),
        pose=normal(frames, 6),
        camera=normal(frames, 3),
        transforms=np.tile(np.eye(3), (frames, 1, 1)),
        image_size=np.full((frames, 2), 256, np.int32),
        present=np.ones(frames, bool),
        frames=np.arange(first, first + frames),
        source="flame-fit",
    )


def random_codes(count: int, seed: int = 0, first: int = 0, detail: bool = True) -> FlameCodes:
    rng = np.random.default_rng(seed)
    return FlameCodes(
        shape=rng.normal(size=(count, 100)),
        expression=rng.normal(size=(count, 50)),
        pose=rng.normal(size=(count, 6)),
        camera=rng.normal(size=(count, 3)),
        transforms=rng.normal(size=(count, 3, 3)),
        image_size=np.full((count, 2), 256),
        present=rng.random(count) > 0.2,
        frames=np.arange(first, first + count),
        source="deca",
        texture=rng.normal(size=(count, 50)) if detail else None,
        light=rng.normal(size=(count, 9, 3)) if detail else None,
        detail=rng.normal(size=(count, 128)) if detail else None,
    )
