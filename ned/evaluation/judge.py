"""Judge: whatever looks at single faces of source and result, and scores the result by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ned.evaluation.metric import Metric, Score, Skip
from ned.evaluation.result import Labels

Which = Literal["source", "result", "destination"]

Crop = Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float32]]
"""((H, W, 3) uint8 RGB, (478, 2) mesh points in pixels) -> what a network sees of that face."""

Said = Mapping[Which, NDArray[np.float32]]
"""What one network said of the frames of each clip: (N, K), NaN rows where it saw no face."""


@dataclass(frozen=True)
class FaceNetwork:
    """A network that looks at one face at a time.

    Attributes:
        crop: cuts out what it wants to see. run: (N, ...) crops -> (N, K) what it says of them.
        width: K, for clips in which it sees no face at all.
    """

    crop: Crop
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    width: int = 1


@dataclass(frozen=True)
class Judgement:
    """What a judge makes of one pair of clips.

    Attributes:
        scores, skips: what was measured and what was not. labels: what classifiers called the
            frames that show the face in both clips.
        shown: the same of all frames that were shown, NaN where there is no face.
    """

    scores: list[Score] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)
    shown: list[Labels] = field(default_factory=list)

    def take(self, found: tuple[Sequence[Score], Sequence[Skip]]) -> None:
        """Add scores and skips."""
        self.scores.extend(found[0])
        self.skips.extend(found[1])


class Judge(Protocol):
    """One question about faces, and the networks that answer it; see `ned.evaluation.judges`.

    Attributes:
        title: what its networks are called in headers. metrics: everything that it can measure.
    """

    title: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]

    @classmethod
    def find(cls, given: Sequence[Path]) -> Judge:
        """The judge with the networks that were given, else with those that the user has.

        Without any it still is a judge, whose judgement is a reason why nothing was measured.

        Raises:
            InputError, AssetError: A network that was given, or found, cannot be used.
        """
        ...

    @property
    def names(self) -> Sequence[str]:
        """Names of its networks."""
        ...

    @property
    def networks(self) -> Sequence[FaceNetwork]:
        """Its networks; each is shown all frames."""
        ...

    def judge(
        self, said: Sequence[Said], target: str | None, paired: bool, block: int
    ) -> Judgement:
        """Scores of one pair of clips.

        Args:
            said: by each of `networks`. target: the emotion that was asked for, None if unknown.
            paired: source and result were shown the same moments in the same order.
            block: frames drawn together for intervals, see `evaluation.bootstrap`.
        """
        ...
