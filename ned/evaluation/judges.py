"""Judges: the table of them, and one pair of clips on its way past all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ned.evaluation.emotion_judge import EmotionJudge
from ned.evaluation.identity_judge import IdentityJudge
from ned.evaluation.judge import FaceNetwork, Judge, Judgement, Said, Which

KINDS: dict[str, type[Judge]] = {
    "emotion": EmotionJudge,
    "identity": IdentityJudge,
}
"""Every judge by name; a new one is a module and a line here."""

_BATCH = 16


@dataclass(frozen=True)
class Judges:
    """The judges of an evaluation; none if left out."""

    judges: Sequence[Judge] = ()

    @classmethod
    def find(cls, given: Mapping[str, Sequence[Path]] | None = None) -> Judges:
        """One of each kind.

        Args:
            given: networks by kind of judge; the other kinds take what the user has.

        Raises:
            InputError, AssetError: A network that was given, or found, cannot be used.
        """
        return cls([kind.find((given or {}).get(name, ())) for name, kind in KINDS.items()])

    @property
    def header(self) -> dict[str, str]:
        """What a reader of a report should know of them."""
        return {judge.title: ", ".join(judge.names) or "none" for judge in self.judges}

    def begin(self) -> Judging:
        """Begin with a new pair of clips."""
        return Judging(self.judges)


class Judging:
    """Collects what the judges say of one pair of clips; made by `Judges.begin`."""

    def __init__(self, judges: Sequence[Judge]) -> None:
        self._judges = [(judge, [_Queue(n) for n in judge.networks]) for judge in judges]

    def show(self, which: Which, image: NDArray[np.uint8], points: NDArray[np.float32]) -> None:
        """Show one frame: (H, W, 3) uint8 RGB with (478, 2) pixels, NaN where no face is seen."""
        for _, queues in self._judges:
            for queue in queues:
                queue.add(which, image, points)

    def finish(self, target: str | None, paired: bool, block: int) -> Judgement:
        """What all judges make of it, one after the other; arguments as in `Judge.judge`."""
        whole = Judgement()
        for judge, queues in self._judges:
            found = judge.judge([queue.said() for queue in queues], target, paired, block)
            whole.take((found.scores, found.skips))
            whole.labels.extend(found.labels)
            whole.shown.extend(found.shown)
        return whole


class _Queue:
    """Crops of faces that wait for their network, a batch at a time."""

    def __init__(self, network: FaceNetwork) -> None:
        self._network = network
        self._rows: dict[Which, list[NDArray[np.float32] | None]] = defaultdict(list)
        self._waiting: list[tuple[Which, int, NDArray[np.float32]]] = []

    def add(self, which: Which, image: NDArray[np.uint8], points: NDArray[np.float32]) -> None:
        rows = self._rows[which]
        if np.isfinite(points).all():
            self._waiting.append((which, len(rows), self._network.crop(image, points)))
        rows.append(None)
        if len(self._waiting) >= _BATCH:
            self._flush()

    def said(self) -> Said:
        """(N, K) of every frame of each clip, NaN rows where no face was seen."""
        self._flush()
        seen = [row for each in self._rows.values() for row in each if row is not None]
        width = len(seen[0]) if seen else self._network.width
        tables: dict[Which, NDArray[np.float32]] = {}
        for which in get_args(Which):
            rows = self._rows[which]
            tables[which] = np.full((len(rows), width), np.nan, np.float32)
            for index, row in enumerate(rows):
                if row is not None:
                    tables[which][index] = row
        return tables

    def _flush(self) -> None:
        if self._waiting:
            found = self._network.run(np.stack([crop for _, _, crop in self._waiting]))
            for (which, index, _), row in zip(self._waiting, found, strict=True):
                self._rows[which][index] = row
            self._waiting = []
