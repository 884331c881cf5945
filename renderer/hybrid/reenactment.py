"""Reenactment: an actor's own frames drawn from other frames of the same actor, to be compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from renderer.hybrid.footage import Footage, mouth_middle, stacked
from renderer.hybrid.memory import Memory, onto
from renderer.warp.renderer import WarpRenderer

if TYPE_CHECKING:
    from renderer.hybrid.renderer import HybridRenderer

_APART = 0.4  # seconds between a frame and the one it is drawn from, where there are such
_BATCH = 4  # faces drawn at once


@dataclass(frozen=True, eq=False)
class Reenacted:
    """One frame drawn again.

    Attributes:
        target, source: rows of the footage. filmed, warped, drawn: (S, S, 3) uint8; drawn is the
            network's, or warped itself without one.
        mask: (S, S) the face. mouth: (2,) x, y of its middle in pixels.
    """

    target: int
    source: int
    filmed: NDArray[np.uint8]
    warped: NDArray[np.uint8]
    drawn: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    mouth: NDArray[np.float32]


def sources(footage: Footage, targets: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """(n,) a random other row for each target, at least 0.4 s away if that is possible."""
    random = np.random.default_rng(seed)
    chosen = []
    for target in targets:
        apart = np.abs(footage.time - footage.time[target])
        apart = np.where(footage.take == footage.take[target], apart, np.inf)
        rows = np.flatnonzero(apart >= min(_APART, float(apart.max())))
        chosen.append(int(random.choice(rows)))
    return np.array(chosen)


def reenact(
    footage: Footage,
    targets: NDArray[np.int64],
    sources: NDArray[np.int64],
    memory: Memory | None = None,
    renderer: HybridRenderer | None = None,
) -> Iterator[Reenacted]:
    """Draw rows of footage from other rows: warped onto their tracked faces, and by a network.

    Args:
        memory: what the network remembers; together with `renderer`, or not at all.
    """
    warp = WarpRenderer()
    descriptors = footage.descriptors[targets]
    recalled = memory.recall(descriptors) if memory is not None else []
    for first in range(0, len(targets), _BATCH):
        rows = range(first, min(first + _BATCH, len(targets)))
        warped, seen = [], []
        for k in rows:
            target, source = int(targets[k]), int(sources[k])
            face, rotation = footage.landmarks[target], footage.descriptors.rotation[target]
            own = footage.pictures[source], footage.landmarks[source]
            moved = onto(*own, face, rotation, warp)
            warped.append(moved[..., :3])
            if memory is not None:
                remembered = memory.picture(recalled[k], face, rotation, warp)
                seen.append(stacked(moved, footage.conditioning[target], remembered))
        drawn = renderer.draw_faces(np.stack(seen)) if renderer is not None else warped
        for k, one, other in zip(rows, warped, drawn, strict=True):
            target = int(targets[k])
            yield Reenacted(
                target,
                int(sources[k]),
                footage.pictures[target],
                one,
                other,
                footage.conditioning[target, ..., 4] > 0,
                mouth_middle(footage.landmarks[target]),
            )
