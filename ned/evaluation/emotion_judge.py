"""Emotion judge: what classifiers of emotion say of a result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ned.core.files.assets import find_asset, known_asset
from ned.evaluation import emotion
from ned.evaluation.classifier import Affect, Classifier, find_classifiers, load_classifier
from ned.evaluation.emotion import affect_scores, agreement_scores, target_scores
from ned.evaluation.judge import FaceNetwork, Judgement, Said
from ned.evaluation.metric import Metric, Skip
from ned.evaluation.result import Labels

_ASSET = "hsemotion"
_AFFECT = tuple(m.name for m in emotion.METRICS if "valence" in m.name or "arousal" in m.name)


@dataclass(frozen=True)
class EmotionJudge:
    """How far a result shows the emotion that was asked for."""

    title: ClassVar[str] = "emotion classifiers"
    metrics: ClassVar[tuple[Metric, ...]] = emotion.METRICS

    classifiers: Sequence[Classifier] = ()

    @classmethod
    def find(cls, given: Sequence[Path]) -> EmotionJudge:
        """With descriptions, networks, or folders of them.

        If none is given, with the "hsemotion" asset and the folder NED_JUDGE.

        Raises:
            InputError, AssetError: one that was given, or found, cannot be used.
        """
        classifiers = [c for path in given for c in _load(path)]
        folder = os.environ.get("NED_JUDGE")
        if not given and find_asset(_ASSET) is not None:
            classifiers.append(load_classifier(_ASSET))
        if not given and folder:
            classifiers += _load(Path(folder))
        return cls(classifiers)

    @property
    def names(self) -> Sequence[str]:
        """Names of the classifiers."""
        return [classifier.name for classifier in self.classifiers]

    @property
    def networks(self) -> Sequence[FaceNetwork]:
        """The classifiers; rows are probabilities, valence and arousal."""
        return [
            FaceNetwork(c.crop, partial(_table, c), len(c.labels) + 2) for c in self.classifiers
        ]

    def judge(
        self, said: Sequence[Said], target: str | None, paired: bool, block: int
    ) -> Judgement:
        """Scores by every classifier and their mean; see `Judge.judge`."""
        judgement = Judgement()
        if not self.classifiers:
            words = f"no emotion classifier: give --judge, or {known_asset(_ASSET).how_to_get}"
            judgement.skips.append(Skip(tuple(metric.name for metric in self.metrics), words))
            return judgement
        labels: list[Labels] = []
        for classifier, rows in zip(self.classifiers, said, strict=True):
            source, result, aim = (
                _affect(classifier, rows[which]) for which in ("source", "result", "destination")
            )
            before, after = source.probabilities, result.probabilities
            labels.append(Labels(classifier.name, classifier.labels, before, after))
            if classifier.has_affect:
                shown = aim if len(aim.probabilities) else None
                found = affect_scores(classifier.name, source, result, shown, paired, block)
                judgement.take(found)
        judgement.take(target_scores(labels, target, paired, block))
        if paired:
            judgement.take(agreement_scores(labels, block))
            judgement.labels.extend(_seen_in_both(each) for each in labels)
            judgement.shown.extend(labels)
        if not any(classifier.has_affect for classifier in self.classifiers):
            words = "no classifier here gives valence and arousal"
            judgement.skips.append(Skip(_AFFECT, words))
        return judgement


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
