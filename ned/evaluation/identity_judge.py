"""Identity judge: whether a network that recognises faces still sees the same person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ned.core.errors import InputError
from ned.core.files.assets import find_asset, known_asset
from ned.evaluation import embedding
from ned.evaluation.embedding import Embedding, identity_scores, load_embedding
from ned.evaluation.judge import FaceNetwork, Judgement, Said
from ned.evaluation.metric import Metric, Skip

_ASSET = "sface"


@dataclass(frozen=True)
class IdentityJudge:
    """How alike the persons in source and result are."""

    title: ClassVar[str] = "face embedding"
    metrics: ClassVar[tuple[Metric, ...]] = embedding.METRICS

    embedding: Embedding | None = None

    @classmethod
    def find(cls, given: Sequence[Path]) -> IdentityJudge:
        """With one embedding that was given, else the "sface" asset.

        Raises:
            InputError, AssetError: it cannot be used, or several are given.
        """
        if len(given) > 1:
            raise InputError(f"{len(given)} face embeddings are given; give one")
        if given or find_asset(_ASSET) is not None:
            return cls(load_embedding(given[0] if given else _ASSET))
        return cls()

    @property
    def names(self) -> Sequence[str]:
        """The embedding's name."""
        return [self.embedding.name] if self.embedding is not None else []

    @property
    def networks(self) -> Sequence[FaceNetwork]:
        """The embedding; rows are vectors of length 1."""
        own = self.embedding
        return [FaceNetwork(own.crop, own.vectors)] if own is not None else []

    def judge(
        self, said: Sequence[Said], target: str | None, paired: bool, block: int
    ) -> Judgement:
        """Likeness of the person; see `Judge.judge`."""
        judgement = Judgement()
        if self.embedding is None:
            words = f"no face embedding: give --embedding, or {known_asset(_ASSET).how_to_get}"
            judgement.skips.append(Skip(tuple(metric.name for metric in self.metrics), words))
            return judgement
        vectors = [said[0]["source"], said[0]["result"]]
        if paired:
            both = ~np.isnan(vectors[0] + vectors[1]).any(1)
            vectors = [table[both] for table in vectors]
        else:
            vectors = [table[~np.isnan(table).any(1)] for table in vectors]
        judgement.take(identity_scores(self.embedding, vectors[0], vectors[1], paired, block))
        return judgement
