"""Comparison: every measure that a result and its source allow, and why others were left out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.face.performance import Performance
from ned.core.progress import SILENT, Progress
from ned.evaluation import (
    background,
    identity,
    lip_sync,
    perceptual,
    pose,
    realism,
    speech,
    temporal,
)
from ned.evaluation.background import Background
from ned.evaluation.bootstrap import block_length
from ned.evaluation.frame_pair import FramePair
from ned.evaluation.judge import Which
from ned.evaluation.judges import Judges
from ned.evaluation.landmarks import signals
from ned.evaluation.metric import Metric, Score, Skip
from ned.evaluation.realism import Realism
from ned.evaluation.region import FaceRegion
from ned.evaluation.result import Labels, Picture, Series
from ned.evaluation.temporal import Calm
from ned.evaluation.tracked_clip import TrackedClip
from ned.evaluation.video_networks import Features, NetworkScorer, VideoNetworks

_SAMPLES = 100  # frames of a clip whose colours are compared, and that classifiers see
_STRIP = 8  # moments in the picture strip
_STRIP_SIDE = 256  # pixels
_SAME_RATE = 5e-3  # 23.976 and 24 are one rate here, 24 and 25 are two

_AGAINST_TRUTH = tuple(m for m in speech.METRICS if m.name.endswith(("_lmd", "_lvd")))
_OF_SOUND = tuple(m for m in speech.METRICS if "lag" in m.name)
_OF_LIPS = tuple(m for m in speech.METRICS if m not in (*_AGAINST_TRUTH, *_OF_SOUND))
_OF_JITTER = tuple(m for m in temporal.METRICS if "jitter" in m.name)
_OF_CALM = tuple(m for m in temporal.METRICS if m not in _OF_JITTER)
_OF_WHOLE_FRAMES = tuple(m for m in realism.METRICS if m.name in ("realism.psnr", "realism.ssim"))
_OF_FACES = tuple(m for m in realism.METRICS if m not in _OF_WHOLE_FRAMES)
_OF_NETWORKS = (*perceptual.METRICS, *lip_sync.METRICS)
_OF_PAIRS = (*_OF_LIPS, *_OF_SOUND, *pose.METRICS, *realism.METRICS, *temporal.METRICS)
_OF_PLACE = tuple(m for m in pose.METRICS if m.name != "pose.rotation")


class Comparison:
    """One result against its source; `run` fills scores, skips, series, pictures and labels.

    Args:
        source, result: both clips. truth: what the result should equal, destination: the emotion
            wanted by the same actor; None without.
        target: emotion that was asked for, None where unknown.
        judges: what looks at single faces. networks: others with weights.
        actor: which face of the source.
        compared: (T,) True in the frames whose faces (lips, jaw, pose, jitter) count; None:
            all do. Pictures and what classifiers see are not affected.

    Raises:
        InputError: the source shows fewer faces.
    """

    def __init__(
        self,
        source: TrackedClip,
        result: TrackedClip,
        judges: Judges,
        networks: VideoNetworks,
        target: str | None = None,
        truth: TrackedClip | None = None,
        destination: TrackedClip | None = None,
        actor: int = 0,
        progress: Progress = SILENT,
        compared: NDArray[np.bool_] | None = None,
    ) -> None:
        self._source, self._result = source, result
        self._truth, self._destination = truth, destination
        self._target, self._progress, self._networks = target, progress, networks
        self.scores: list[Score] = []
        self.skips: list[Skip] = []
        self.series: list[Series] = []
        self.pictures: list[Picture] = []
        self.labels: list[Labels] = []
        self.features: Features = {}
        self._face = source.face(actor)
        self._points = source.points(self._face)
        self._other = result.face_like(self._points, source.clip.size)
        self._moved = result.points(self._other)
        self._compared = compared
        self.frames = min(source.frames, result.frames)
        self.frame_rate = float(source.clip.frame_rate)
        self._same_size = source.clip.size == result.clip.size
        self._same_rate = True
        self._paired = self._find_pairing()
        self._judging = judges.begin()
        self._block = block_length(self.frame_rate)
        self._every = max(1, self.frames // _SAMPLES)
        self._sampled_block = max(1, round(self._block / self._every))

    def run(self) -> None:
        """Take every measure."""
        if self._face is None or self._other is None:
            self._skip_faces()
        else:
            self.scores.append(identity.rig_distance(self._face, self._other))
            if self._paired:
                self._compare_faces(self._face, self._other)
        self._compare_truth()
        self._compare_pictures()
        self._judge()
        told = {score.metric for score in self.scores}
        told.update(name for skip in self.skips for name in skip.metrics)
        rest = [metric for metric in _OF_PAIRS if metric.name not in told]
        self._skip(rest, "too few frames in a row show the face in both videos")

    def _find_pairing(self) -> bool:
        """Whether frames correspond one to one; notes what does not fit."""
        source, result = self._source, self._result
        rates = [float(seen.clip.frame_rate) for seen in (source, result)]
        same_rate = abs(rates[1] / rates[0] - 1) < _SAME_RATE
        words = f"the result has {result.frames} frames at {rates[1]:.6g} fps, the source "
        words += f"{source.frames} at {rates[0]:.6g}"
        if not same_rate and source.frames != result.frames:
            paired = (*speech.METRICS, *pose.METRICS, *background.METRICS)
            paired += (*realism.METRICS, *temporal.METRICS, *_OF_NETWORKS)
            self._skip(paired, f"{words}; not comparable")
            return False
        if not same_rate:
            self._skip(_OF_SOUND, f"{words}; frames were compared one by one, sound was not")
        elif source.frames != result.frames:
            longest = max(source.frames, result.frames)
            beyond = f"frames {self.frames} to {longest - 1}"
            self.skips.append(Skip((beyond,), f"{words}; the common beginning was compared"))
        self._same_rate = same_rate
        return True

    @property
    def _sizes(self) -> str:
        sizes = [f"{s.clip.size[0]}x{s.clip.size[1]}" for s in (self._source, self._result)]
        return f"the source is {sizes[0]}, the result {sizes[1]}"

    def _skip(self, metrics: Sequence[Metric], reason: str) -> None:
        if metrics:
            self.skips.append(Skip(tuple(metric.name for metric in metrics), reason))

    def _skip_faces(self) -> None:
        both = (("source", self._face), ("result", self._other))
        where = " and the ".join(name for name, face in both if face is None)
        metrics: list[Metric] = list(identity.METRICS)
        if self._paired:
            metrics += [*pose.METRICS, *_OF_LIPS, *_OF_JITTER]
            metrics += _OF_SOUND if self._same_rate else ()
        self._skip(metrics, f"no face in the {where}")
        if self._paired and self._face is None and self._same_size:
            self._skip((*_OF_FACES, *_OF_CALM, *background.METRICS), "no face in the source")

    def _compare_faces(self, face: Performance, other: Performance) -> None:
        count, block = self.frames, self._block
        before, after = self._points[:count], self._moved[:count]
        both = np.isfinite(before).all((1, 2)) & np.isfinite(after).all((1, 2))
        if self._compared is not None:
            both &= self._compared[:count]
        if not both.any():
            words = "no frame shows the face in both videos"
            sound = _OF_SOUND if self._same_rate else ()
            self._skip((*pose.METRICS, *_OF_LIPS, *_OF_JITTER, *sound), words)
            return
        lips = speech.lip_scores(before[both], after[both], block)
        self._take(*lips)
        openings = [signals(points)["aperture"] for points in (before, after)]
        if self._same_rate:
            sounds = self._source.sound, self._result.sound
            pairs = tuple(zip(openings, sounds, strict=True))
            times = face.times[:count]
            self._take(*speech.lag_scores(pairs[0], pairs[1], times, self.frame_rate))
        solid = [each.track.landmarks(0, count)[both] for each in (face, other)]
        drift = pose.pose_scores(solid[0], solid[1], block)
        if not self._same_size:
            self._skip(_OF_PLACE, self._sizes)
            drift = [score for score in drift if score.metric == "pose.rotation"]
        self.scores += drift
        shots = face.track.shots[:count]
        unknown = np.where(both[:, None, None], 0, np.nan)
        self.scores += temporal.jitter_scores(
            before + unknown, after + unknown, shots, block, self._same_size
        )
        curves = {name: 100 * o for name, o in zip(("source", "result"), openings, strict=True)}
        self._draw("opening of the lips", "% of eye distance", curves)

    def _compare_truth(self) -> None:
        """Distances to the ground truth, where there is one."""
        if not self._paired:
            return
        if self._truth is None:
            self._skip(_AGAINST_TRUTH, "no ground truth was given")
            return
        face = self._truth.face_like(self._points, self._source.clip.size)
        if face is None or self._other is None:
            where = "result" if self._other is None else "ground truth"
            self._skip(_AGAINST_TRUTH, f"no face in the {where}")
            return
        if self._truth.frames != self._result.frames:
            words = f"the ground truth has {self._truth.frames} frames, the result "
            self._skip(_AGAINST_TRUTH, f"{words}{self._result.frames}")
            return
        wanted = self._truth.points(face)
        known = np.flatnonzero(np.isfinite(wanted + self._moved).all((1, 2)))
        if not len(known):
            self._skip(_AGAINST_TRUTH, "no frame shows the face in result and ground truth")
            return
        shots = face.track.shots[known]
        follows = (np.diff(known) == 1) & (np.diff(shots) == 0)
        moved, wanted = self._moved[known], wanted[known]
        self.scores += speech.ground_truth_scores(moved, wanted, follows, self._block)

    def _compare_pictures(self) -> None:
        """One pass over the frames of both clips, for all that needs pixels."""
        if not self._paired:
            self._show("source", self._source, self._points)
            self._show("result", self._result, self._moved)
            return
        count, size = self.frames, self._source.clip.size
        if not self._same_size:
            metrics = (*background.METRICS, *realism.METRICS, *_OF_CALM, *_OF_NETWORKS)
            self._skip(metrics, self._sizes)
        region = FaceRegion([self._points[:count], self._moved[:count]], size)
        outside, look = Background(region), Realism()
        calm = Calm(self._face.track.shots if self._face is not None else np.zeros(count, np.int32))
        sights = self._points[:count], self._moved[:count]
        times = self._face.times if self._face is not None else np.arange(count) / self.frame_rate
        scorer = NetworkScorer(self._networks, self._source, self._result, sights, times[:count])
        every = self._every
        strip = set(np.linspace(0, count - 1, min(_STRIP, count)).round().astype(int).tolist())
        frames = zip(self._source.clip.frames(), self._result.clip.frames(), strict=False)
        with (
            self._progress.stage("comparing", count) as step,
            ThreadPoolExecutor(1) as pool,
        ):
            for source, result in islice(frames, count):
                index, sampled = source.index, source.index % every == 0
                pair = FramePair(index, source, result, region.box(index))
                looked = None
                if self._same_size:
                    pair.prepare(sampled)
                    looked = pool.submit(look.add, pair, sampled)
                    calm.add(pair)
                    scorer.add(pair, sampled)
                    if self._face is not None:
                        outside.add(pair, sampled)
                if sampled:
                    self._judging.show("source", pair.colours[0], self._points[index])
                    self._judging.show("result", pair.colours[1], self._moved[index])
                if index in strip:
                    self.pictures.append(self._picture(pair, region))
                if looked is not None:
                    looked.result()
                step(1)
        if not self._same_size:
            return
        scores, skips, self.features = scorer.finish(self._sampled_block)
        self._take(scores, skips)
        self.scores += look.scores(self._block, self._sampled_block)
        self._draw("structural similarity", "", {"SSIM": np.array(look.ssim)})
        if self._face is not None:
            self.scores += outside.scores(self._block, self._sampled_block)
            self.scores += calm.scores(self._block)

    def _show(self, which: Which, seen: TrackedClip, points: NDArray[np.float32]) -> None:
        """Let the judges see some frames of one clip alone."""
        every = max(1, seen.frames // _SAMPLES)
        for frame in seen.clip.frames():
            if frame.index % every == 0 and frame.index < len(points):
                self._judging.show(which, frame.rgb(), points[frame.index])

    def _judge(self) -> None:
        """What classifiers and embeddings say of the frames they saw."""
        if self._destination is not None:
            face = self._destination.face_like(self._points, self._source.clip.size)
            self._show("destination", self._destination, self._destination.points(face))
        judgement = self._judging.finish(self._target, self._paired, self._sampled_block)
        self._take(judgement.scores, judgement.skips)
        self.labels = judgement.labels
        for labels in judgement.shown:
            if self._target in labels.names:
                column = labels.names.index(self._target)
                curves = {"source": labels.source[:, column], "result": labels.result[:, column]}
                title = f"probability of {self._target}, {labels.judge}"
                times = np.arange(len(labels.source)) * self._every / self.frame_rate
                self.series.append(Series(title, "", times, curves))

    def _picture(self, pair: FramePair, region: FaceRegion) -> Picture:
        """The face (the whole frame without one) in both videos."""
        parts = list(pair.colours)
        place = region.box(pair.index, margin=0.35) if self._same_size else None
        if place is not None:
            parts = [part[place] for part in parts]
        height, width = parts[0].shape[:2]
        scale = _STRIP_SIDE / max(height, width)
        size = max(1, round(scale * width)), max(1, round(scale * height))
        small = [cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in parts]
        return Picture(pair.source.time, np.asarray(small[0]), np.asarray(small[1]))

    def _draw(self, title: str, unit: str, curves: dict[str, NDArray[np.floating]]) -> None:
        count = len(next(iter(curves.values())))
        times = np.arange(count) / self.frame_rate
        plain = {name: np.asarray(curve, np.float32) for name, curve in curves.items()}
        self.series.append(Series(title, unit, times, plain))

    def _take(self, scores: Sequence[Score], skips: Sequence[Skip]) -> None:
        self.scores += scores
        self.skips += skips
