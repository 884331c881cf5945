"""Video networks: LPIPS, SyncNet, features of FID and FVD, which see both videos together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.files.assets import find_asset, known_asset
from ned.evaluation import frechet, lip_sync, perceptual
from ned.evaluation.frame_pair import FACE_SIDE, FramePair
from ned.evaluation.frechet import CLIP_LENGTH, FeatureNetwork, Kind, frechet_scores, load_features
from ned.evaluation.lip_sync import FaceSequence, LipSync, aligned, lip_sync_scores, load_lip_sync
from ned.evaluation.metric import Score, Skip
from ned.evaluation.perceptual import Perceptual, load_perceptual, perceptual_scores
from ned.evaluation.sound import read_samples
from ned.evaluation.tracked_clip import TrackedClip

Features = dict[Kind, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Features of the faces of source and result, (N, K) each."""

_OF_SETS = {metric.name for metric in frechet.METRICS}
_BATCH = 16
_LIP_BLOCK = 12  # windows of 1/25 s


@dataclass(frozen=True)
class VideoNetworks:
    """The networks whose weights are there.

    Attributes:
        perceptual: LPIPS. lip_sync: SyncNet. features: of FID and FVD. skips: what is left out
            because weights are missing.
    """

    perceptual: Perceptual | None = None
    lip_sync: LipSync | None = None
    features: dict[Kind, FeatureNetwork] = field(default_factory=dict)
    skips: Sequence[Skip] = ()

    @classmethod
    def find(cls) -> VideoNetworks:
        """Load those whose weights `ned assets` has.

        Raises:
            AssetError: weights are there but do not fit. InputError: torch is not installed.
        """
        skips = []

        def present(assets: tuple[str, ...], what: str, metrics: Sequence[str]) -> bool:
            missing = [name for name in assets if find_asset(name) is None]
            if missing:
                way = known_asset(missing[0]).how_to_get
                skips.append(Skip(tuple(metrics), f"no weights of {what}: {way}"))
            return not missing

        own = [metric.name for metric in perceptual.METRICS]
        seeing = present(("lpips", "lpips-alexnet"), "LPIPS", own)
        listening = present(("syncnet",), "SyncNet", [metric.name for metric in lip_sync.METRICS])
        kinds: tuple[tuple[Kind, str], ...] = (("fid", "fid-inception"), ("fvd", "fvd-i3d"))
        features: dict[Kind, FeatureNetwork] = {
            kind: load_features(kind)
            for kind, asset in kinds
            if present((asset,), kind.upper(), (f"realism.{kind}",))
        }
        return cls(
            load_perceptual() if seeing else None,
            load_lip_sync() if listening else None,
            features,
            skips,
        )


class NetworkScorer:
    """Shows the frames of one pair of clips, in order, to all networks.

    Args:
        points: (T, 478, 2) pixels of the face in source and result.
    """

    def __init__(
        self,
        networks: VideoNetworks,
        source: TrackedClip,
        result: TrackedClip,
        points: tuple[NDArray[np.float32], NDArray[np.float32]],
        times: NDArray[np.float64],
    ) -> None:
        self._networks, self._clips = networks, (source, result)
        lips = networks.lip_sync
        self._sequences: list[FaceSequence] = (
            [lips.begin(times, each) for each in points] if lips else []
        )
        self._pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
        self._distances: list[NDArray[np.float32]] = []
        self._run: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
        self._rows: dict[Kind, list[tuple[NDArray[np.float32], ...]]] = defaultdict(list)

    def add(self, pair: FramePair, sampled: bool) -> None:
        """Look at one frame; `sampled` ones are also compared as pictures."""
        for side, sequence in enumerate(self._sequences):
            sequence.add(pair.index, pair.colours[side])
        clips = self._networks.features.get("fvd")
        if pair.face is None:
            self._run = []
            return
        if not (sampled or clips):
            return
        faces = self._faces(pair)
        if sampled:
            self._pairs.append(faces)
            if len(self._pairs) == _BATCH:
                self._compare()
        if clips is not None:
            self._run.append(faces)
            if len(self._run) == CLIP_LENGTH:
                self._rows["fvd"].append(
                    tuple(clips.features([np.stack(run)]) for run in zip(*self._run, strict=True))
                )
                self._run = []

    def finish(self, sampled_block: int) -> tuple[list[Score], list[Skip], Features]:
        """All scores of this pair, and the features that a set of pairs is judged by."""
        self._compare()
        scores: list[Score] = []
        skips = [s for s in self._networks.skips if not set(s.metrics) <= _OF_SETS]
        if self._networks.perceptual is not None and self._distances:
            distances = np.concatenate(self._distances)
            scores += perceptual_scores(distances, sampled_block)
        if self._sequences:
            syncs = []
            for sequence, seen in zip(self._sequences, self._clips, strict=True):
                syncs.append(sequence.sync(aligned(*read_samples(seen.clip.path))))
            found = lip_sync_scores(syncs[1], syncs[0], _LIP_BLOCK)
            scores += found[0]
            skips += found[1]
        features: Features = {
            kind: (
                np.concatenate([row[0] for row in rows]),
                np.concatenate([row[1] for row in rows]),
            )
            for kind, rows in self._rows.items()
        }
        return scores, skips, features

    def _faces(self, pair: FramePair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        assert pair.face is not None
        size = (FACE_SIDE, FACE_SIDE)
        first, second = (
            np.asarray(cv2.resize(image[pair.face], size, interpolation=cv2.INTER_AREA), np.uint8)
            for image in pair.colours
        )
        return first, second

    def _compare(self) -> None:
        """Hand the waiting pairs of faces to the networks."""
        if not self._pairs:
            return
        first, second = (np.stack(faces) for faces in zip(*self._pairs, strict=True))
        if self._networks.perceptual is not None:
            self._distances.append(self._networks.perceptual.distances(first, second))
        pictures = self._networks.features.get("fid")
        if pictures is not None:
            self._rows["fid"].append((pictures.features(first), pictures.features(second)))
        self._pairs = []


def set_scores(
    networks: VideoNetworks, pairs: Sequence[Features]
) -> tuple[list[Score], list[Skip]]:
    """FID and FVD of a set of pairs from their features."""
    scores: list[Score] = []
    skips = [skip for skip in networks.skips if set(skip.metrics) <= _OF_SETS]
    for kind in networks.features:
        known = [features[kind] for features in pairs if kind in features]
        none = [np.zeros((0, 1), np.float32)]
        source, result = (np.concatenate([pair[side] for pair in known] or none) for side in (0, 1))
        found = frechet_scores(kind, source, result)
        scores += found[0]
        skips += found[1]
    return scores, skips
