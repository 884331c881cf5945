"""Evaluate: score edited clips against their sources as a composition of the rooms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from deca.fitting import fit
from evaluation.comparison import Comparison
from evaluation.judging import Panel
from evaluation.result import PairResult
from evaluation.seen import Seen
from evaluation.sound import Sound
from ned.core.clip import Clip
from ned.core.errors import InputError, NoFaceError
from ned.core.progress import SILENT, Progress, Step
from ned.core.source import quoted
from ned.pairs import Pair
from preprocessing.track import track_faces


class Evaluator:
    """Scores pairs one after the other; a source that several share is looked at once.

    Args:
        panel: classifiers and embeddings. actor: which face of the source, 0 the largest.
    """

    def __init__(self, panel: Panel, actor: int = 0, progress: Progress = SILENT) -> None:
        self._panel, self._actor, self._progress = panel, actor, progress
        self._known: dict[Path, Seen] = {}

    def evaluate(self, pair: Pair) -> PairResult:
        """Score one result.

        Raises:
            InputError: one of the clips cannot be read, or has no such actor.
        """
        paths = [pair.source, pair.result]
        paths += [path for path in (pair.ground_truth, pair.destination) if path is not None]
        seen = self._look(paths)
        self._known = {pair.source: seen[pair.source]}
        comparison = Comparison(
            seen[pair.source],
            seen[pair.result],
            self._panel,
            target=pair.emotion,
            truth=seen[pair.ground_truth] if pair.ground_truth is not None else None,
            destination=seen[pair.destination] if pair.destination is not None else None,
            actor=self._actor,
            progress=self._progress,
        )
        comparison.run()
        return PairResult(
            name=pair.name,
            source=pair.source,
            result=pair.result,
            target=pair.emotion,
            method=pair.method,
            frames=comparison.frames,
            size=seen[pair.source].clip.size,
            frame_rate=comparison.frame_rate,
            scores=comparison.scores,
            skips=comparison.skips,
            series=comparison.series,
            pictures=comparison.pictures,
            labels=comparison.labels,
        )

    def _look(self, paths: Sequence[Path]) -> dict[Path, Seen]:
        """Track every clip that is not known yet, two at a time."""
        clips = {path: Clip.open(path) for path in paths if path not in self._known}
        total = sum(clip.frame_count or 0 for clip in clips.values())
        with (
            self._progress.stage("tracking", total or None) as step,
            ThreadPoolExecutor(2) as pool,
        ):
            found = pool.map(lambda clip: _see(clip, _Together(step)), clips.values())
            return self._known | dict(zip(clips, found, strict=True))


def _see(clip: Clip, progress: Progress) -> Seen:
    if clip.is_image:
        raise InputError(f"{quoted(clip.path)} is a picture; give a video")
    sound = Sound.open(clip.path)
    try:
        tracks = track_faces(clip, progress=progress)
    except NoFaceError:
        return Seen(clip, [], sum(1 for _ in clip.frames()), sound)
    return Seen(clip, [fit(track) for track in tracks], len(tracks[0]), sound)


class _Together(Progress):
    """Reports stages that run side by side as one."""

    def __init__(self, step: Step) -> None:
        self._step = step

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Step]:
        yield self._step
