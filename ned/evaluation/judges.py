"""Judging: what classifiers and embeddings say of the faces that they are shown."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ned.core.files.assets import find_asset, known_asset
from ned.evaluation import embedding as faces
from ned.evaluation import emotion
from ned.evaluation.classifier import Affect, Classifier, find_classifiers, load_classifier
from ned.evaluation.embedding import Embedding, identity_scores, load_embedding
from ned.evaluation.emotion import affect_scores, agreement_scores, target_scores
from ned.evaluation.metric import Score, Skip
from ned.evaluation.result import Labels

Which = Literal["source", "result", "destination"]

_BATCH = 16
_JUDGE, _FACES = "hsemotion", "sface"
_AFFECT = tuple(m.name for m in emotion.METRICS if "valence" in m.name or "arousal" in m.name)


@dataclass(frozen=True)
class Verdict:
    """What came of a sitting.

    Attributes:
        scores, skips: of all judges. labels: of frames that show the face in both clips.
        shown: the same of all frames that were shown, NaN where there is no face.
    """

    scores: list[Score] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)
    shown: list[Labels] = field(default_factory=list)


@dataclass(frozen=True)
class Panel:
    """Every network that looks at single faces.

    Attributes:
        classifiers: of emotion. embedding: of identity, None without one. skips: what is left
            out because weights are missing.
    """

    classifiers: Sequence[Classifier] = ()
    embedding: Embedding | None = None
    skips: Sequence[Skip] = ()

    @classmethod
    def find(cls, judges: Sequence[Path] = (), embedding: Path | None = None) -> Panel:
        """The networks that were given, else those that the user has.

        Args:
            judges: descriptions, networks, or folders of them; if empty the "hsemotion" asset and
                the folder NED_JUDGE. embedding: if None the "sface" asset.

        Raises:
            InputError, AssetError: one that was given, or found, cannot be used.
        """
        skips = []
        classifiers = [c for path in judges for c in _load(path)]
        folder = os.environ.get("NED_JUDGE")
        if not judges and find_asset(_JUDGE) is not None:
            classifiers.append(load_classifier(_JUDGE))
        if not judges and folder:
            classifiers += _load(Path(folder))
        if not classifiers:
            words = f"no emotion classifier: give --judge, or {known_asset(_JUDGE).how_to_get}"
            skips.append(Skip(tuple(metric.name for metric in emotion.METRICS), words))
        known = None
        if embedding is not None or find_asset(_FACES) is not None:
            known = load_embedding(embedding or _FACES)
        else:
            words = f"no face embedding: give --embedding, or {known_asset(_FACES).how_to_get}"
            skips.append(Skip(tuple(metric.name for metric in faces.METRICS), words))
        return cls(classifiers, known, skips)

    def sitting(self) -> Sitting:
        """Begin with a new pair of clips."""
        return Sitting(self)


class Sitting:
    """Collects what the panel says of one pair of clips."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._judged = [
            _Queue(c.crop, partial(_table, c), len(c.labels) + 2) for c in panel.classifiers
        ]
        own = panel.embedding
        self._known = _Queue(own.crop, own.vectors) if own is not None else None

    def look(self, which: Which, image: NDArray[np.uint8], points: NDArray[np.float32]) -> None:
        """Show one frame: (H, W, 3) uint8 RGB with (478, 2) pixels, NaN where no face is seen."""
        for queue in (*self._judged, *([self._known] if self._known is not None else [])):
            queue.add(which, image, points)

    def verdict(self, target: str | None, paired: bool, block: int) -> Verdict:
        """All scores.

        Args:
            target: emotion that was asked for. paired: source and result were shown the same
                moments in the same order. block: frames drawn together for intervals.
        """
        panel, verdict = self._panel, Verdict(skips=list(self._panel.skips))
        labels: list[Labels] = []
        for classifier, queue in zip(panel.classifiers, self._judged, strict=True):
            source, result, aim = (
                _affect(classifier, queue.rows(which))
                for which in ("source", "result", "destination")
            )
            before, after = source.probabilities, result.probabilities
            labels.append(Labels(classifier.name, classifier.labels, before, after))
            if classifier.has_affect:
                shown = aim if len(aim.probabilities) else None
                found = affect_scores(classifier.name, source, result, shown, paired, block)
                _take(verdict, found)
        if panel.classifiers:
            _take(verdict, target_scores(labels, target, paired, block))
            if paired:
                _take(verdict, agreement_scores(labels, block))
                verdict.labels.extend(_seen_in_both(each) for each in labels)
                verdict.shown.extend(labels)
            if not any(classifier.has_affect for classifier in panel.classifiers):
                words = "no classifier here gives valence and arousal"
                verdict.skips.append(Skip(_AFFECT, words))
        if self._known is not None and panel.embedding is not None:
            vectors = [self._known.rows(which) for which in ("source", "result")]
            if paired:
                both = ~np.isnan(vectors[0] + vectors[1]).any(1)
                vectors = [table[both] for table in vectors]
            else:
                vectors = [table[~np.isnan(table).any(1)] for table in vectors]
            _take(verdict, identity_scores(panel.embedding, vectors[0], vectors[1], paired, block))
        return verdict


class _Queue:
    """Crops of faces that wait for their network, a batch at a time."""

    def __init__(
        self,
        crop: Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float32]],
        run: Callable[[NDArray[np.float32]], NDArray[np.float32]],
        width: int = 1,
    ) -> None:
        self._crop, self._run, self._width = crop, run, width
        self._rows: dict[Which, list[NDArray[np.float32] | None]] = defaultdict(list)
        self._waiting: list[tuple[Which, int, NDArray[np.float32]]] = []

    def add(self, which: Which, image: NDArray[np.uint8], points: NDArray[np.float32]) -> None:
        rows = self._rows[which]
        if np.isfinite(points).all():
            self._waiting.append((which, len(rows), self._crop(image, points)))
        rows.append(None)
        if len(self._waiting) >= _BATCH:
            self._flush()

    def rows(self, which: Which) -> NDArray[np.float32]:
        """(N, K) what the network said of every frame, NaN rows where it saw no face."""
        self._flush()
        rows = self._rows[which]
        seen = [row for each in self._rows.values() for row in each if row is not None]
        width = len(seen[0]) if seen else self._width
        table = np.full((len(rows), width), np.nan, np.float32)
        for index, row in enumerate(rows):
            if row is not None:
                table[index] = row
        return table

    def _flush(self) -> None:
        if self._waiting:
            found = self._run(np.stack([crop for _, _, crop in self._waiting]))
            for (which, index, _), row in zip(self._waiting, found, strict=True):
                self._rows[which][index] = row
            self._waiting = []


def _load(path: Path) -> list[Classifier]:
    return find_classifiers(path) if path.is_dir() else [load_classifier(path)]


def _table(classifier: Classifier, crops: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, C + 2): probabilities, valence and arousal (zeros where there are none)."""
    found = classifier.scores(crops)
    none = np.zeros(len(crops), np.float32)
    more = [none if each is None else each for each in (found.valence, found.arousal)]
    return np.column_stack([found.probabilities, *more])


def _affect(classifier: Classifier, table: NDArray[np.floating]) -> Affect:
    table = table.astype(np.float32)
    valence, arousal = (table[:, -2], table[:, -1]) if classifier.has_affect else (None, None)
    return Affect(table[:, :-2], valence, arousal)


def _seen_in_both(labels: Labels) -> Labels:
    both = ~np.isnan(labels.source + labels.result).any(1)
    return Labels(labels.judge, labels.names, labels.source[both], labels.result[both])


def _take(verdict: Verdict, found: tuple[Sequence[Score], Sequence[Skip]]) -> None:
    verdict.scores.extend(found[0])
    verdict.skips.extend(found[1])
