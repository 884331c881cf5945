"""Judging: what classifiers and embeddings say of the faces that they are shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.metric import Score, Skip
from evaluation.result import Labels

Which = Literal["source", "result", "destination"]


@dataclass(frozen=True)
class Verdict:
    """What came of a sitting."""

    scores: list[Score] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)


@dataclass(frozen=True)
class Panel:
    """Everything with weights that looks at faces."""

    def sitting(self) -> Sitting:
        """Begin with a new pair of clips."""
        return Sitting()


class Sitting:
    """Collects the faces of one pair of clips."""

    def look(self, which: Which, image: NDArray[np.uint8], points: NDArray[np.float32]) -> None:
        """Show one frame."""

    def compare(
        self, images: tuple[NDArray[np.uint8], NDArray[np.uint8]], face: tuple[slice, slice]
    ) -> None:
        """Show the same frame of both."""

    def verdict(self, target: str | None, block: int) -> Verdict:
        """Everything that was found."""
        return Verdict()
