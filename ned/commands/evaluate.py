"""Evaluate: score edited clips against their sources as a composition of the rooms."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from deca.fitting import fit
from manipulator.prototypes import load_prototypes
from ned import __version__
from ned.core.errors import InputError, NedError, NoFaceError, quoted
from ned.core.files.partial import output_errors
from ned.core.film.clip import Clip
from ned.core.progress import SILENT, Progress, SilentProgress, Step
from ned.core.table import Line
from ned.evaluation.catalogue import METRICS
from ned.evaluation.comparison import Comparison
from ned.evaluation.judges import Judges
from ned.evaluation.means import means_of
from ned.evaluation.metric import Score, Skip
from ned.evaluation.pairs import Pair, find_pairs
from ned.evaluation.report import write_report
from ned.evaluation.result import PairResult, SetResult
from ned.evaluation.score_table import tell
from ned.evaluation.sound import Sound
from ned.evaluation.tables import write_csv, write_json
from ned.evaluation.tracked_clip import TrackedClip
from ned.evaluation.video_networks import Features, VideoNetworks, set_scores
from ned.options import EvaluateOptions, is_still_name
from preprocessing.track import track_faces

log = logging.getLogger(__name__)

_WRITE_EVERY = 60.0  # seconds


def evaluate(options: EvaluateOptions, progress: Progress = SILENT) -> list[Line]:
    """Score results, or make or score a study of human raters; returns lines for people.

    Raises:
        InputError: nothing can be compared, or (of a single result) a clip cannot be used.
        AssetError: a network that was asked for is missing. OutputError: nothing can be written.
    """
    if options.answers:
        return _score_study(options)
    if options.study is not None:
        pairs, looks = _pairs(options)
        return _make_study(options.study, pairs, looks, options.seed)
    found = score(options, progress)
    return [*tell(found, METRICS), f"report: {options.output_folder / 'report.html'}"]


def _pairs(options: EvaluateOptions) -> tuple[list[Pair], dict[str, str]]:
    """What is compared with what; and by emotion, what classifiers call it."""
    prototypes = load_prototypes(options.emotions)
    looks = {name: one.looks_like for name, one in prototypes.items() if one.looks_like}
    known = tuple(prototypes)
    return list(find_pairs(options.source, options.result, options.emotion, known)), looks


def score(options: EvaluateOptions, progress: Progress = SILENT) -> SetResult:
    """Score results, and write tables and a report beside them.

    Of several results they are written on the way too, and when the run is interrupted: what was
    done is kept.

    Raises:
        InputError: nothing can be compared, or (of a single result) a clip cannot be used.
        AssetError: a network that was asked for is missing. OutputError: nothing can be written.
    """
    pairs, looks = _pairs(options)
    pairs = [
        dataclasses.replace(
            pair,
            destination=pair.destination or options.destination,
            ground_truth=pair.ground_truth or options.ground_truth,
        )
        for pair in pairs
    ]
    folder = options.output_folder
    embedding = () if options.embedding is None else (options.embedding,)
    judges = Judges.find({"emotion": options.judge, "identity": embedding})
    evaluator = Evaluator(judges, VideoNetworks.find(), options.actor, progress, looks)
    found = SetResult([])
    written = time.monotonic()
    try:
        for pair in sorted(pairs, key=lambda pair: pair.source):
            try:
                found.pairs.append(evaluator.evaluate(pair))
            except NedError as error:
                if len(pairs) == 1:
                    raise
                found.failed[pair.name] = str(error)
            if len(pairs) > 1 and time.monotonic() - written > _WRITE_EVERY:
                _write(folder, found, judges, evaluator)
                written = time.monotonic()
    finally:
        if found.pairs:
            _write(folder, found, judges, evaluator)
    if not found.pairs:
        name, why = next(iter(found.failed.items()))
        raise InputError(f"none of {len(pairs)} results could be scored; {name}: {why}")
    return found


def _write(folder: Path, found: SetResult, judges: Judges, evaluator: Evaluator) -> None:
    if len(found.pairs) + len(found.failed) > 1:
        found.means = means_of(found.pairs)
        found.skips = evaluator.judge_sets(found.means)
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    header = {"ned": __version__, "results": len(found.pairs), **judges.header}
    write_json(folder / "scores.json", found, METRICS, header)
    write_csv(folder / "scores.csv", found, METRICS, header)
    write_report(folder / "report.html", found, METRICS, header)


def _make_study(
    folder: Path, pairs: Sequence[Pair], looks: Mapping[str, str], seed: int
) -> list[Line]:
    """A blinded rating page of the results of all methods."""
    from ned.evaluation.study import make_study

    clips: dict[str, dict[str, Path]] = defaultdict(dict)
    targets = {}
    for pair in pairs:
        clips[pair.method or "results"][pair.result.stem] = pair.result
        if pair.emotion is not None:
            targets[pair.result.stem] = looks.get(pair.emotion, pair.emotion)
    sources = {pair.source.stem: pair.source for pair in pairs}
    page = make_study(folder, clips, sources, seed=seed, targets=targets)
    return [
        f"{page}: give raters this folder, they open the page in a browser",
        f"{folder / 'study_key.json'}: keep it to yourself; "
        f"`ned evaluate {folder / 'study_key.json'} --answers FILE ...` scores what they send back",
    ]


def _score_study(options: EvaluateOptions) -> list[Line]:
    """Scores of a study from its key and the raters' files."""
    from ned.evaluation.study import score_study, write_study_scores

    scores = score_study(options.source, list(options.answers))
    folder = options.output or options.source.with_name(f"{options.source.stem}_scores")
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_study_scores(folder, scores)
    return [f"report: {folder}"]


class Evaluator:
    """Scores pairs one after the other; a source that several share is looked at once.

    Args:
        judges: what looks at single faces. networks: others with weights.
        actor: which face of the source, 0 the largest.
        looks: by emotion, what classifiers call it; itself if left out.
    """

    def __init__(
        self,
        judges: Judges,
        networks: VideoNetworks | None = None,
        actor: int = 0,
        progress: Progress = SILENT,
        looks: Mapping[str, str] | None = None,
    ) -> None:
        self._looks = looks or {}
        self._judges, self._networks = judges, networks or VideoNetworks()
        self._actor, self._progress = actor, progress
        self._known: dict[Path, TrackedClip] = {}
        self._features: dict[str, list[Features]] = defaultdict(list)

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
            self._judges,
            self._networks,
            target=None if pair.emotion is None else self._looks.get(pair.emotion, pair.emotion),
            truth=seen[pair.ground_truth] if pair.ground_truth is not None else None,
            destination=seen[pair.destination] if pair.destination is not None else None,
            actor=self._actor,
            progress=self._progress,
        )
        counts = [seen[path].frames for path in (pair.source, pair.result)]
        if counts[0] != counts[1]:
            log.warning(
                "%s has %d frames, %s %d; the first %d are compared, is it the right source?",
                quoted(pair.source),
                counts[0],
                quoted(pair.result),
                counts[1],
                min(counts),
            )
        comparison.run()
        self._features[pair.method].append(comparison.features)
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

    def judge_sets(self, means: dict[str, list[Score]]) -> list[Skip]:
        """Add to each method's means what can only be said of a set of results."""
        skips: list[Skip] = []
        for method, scores in means.items():
            found = set_scores(self._networks, self._features[method])
            scores.extend(found[0])
            skips += [skip for skip in found[1] if skip not in skips]
        return skips

    def _look(self, paths: Sequence[Path]) -> dict[Path, TrackedClip]:
        """Track every clip that is not known yet, two at a time."""
        for path in paths:
            if is_still_name(path):
                raise InputError(f"{quoted(path)} is a picture; give a video")
        clips = {path: Clip.open(path) for path in paths if path not in self._known}
        total = sum(clip.frame_count or 0 for clip in clips.values())
        with (
            self._progress.stage("tracking", total or None) as step,
            ThreadPoolExecutor(2) as pool,
        ):
            found = pool.map(lambda clip: see(clip, _Together(step)), clips.values())
            return self._known | dict(zip(clips, found, strict=True))


def see(clip: Clip, progress: Progress = SILENT) -> TrackedClip:
    """Track a clip and fit the rig to every face in it; a clip without a face has none."""
    sound = Sound.open(clip.path)
    try:
        tracks = track_faces(clip, progress=progress)
    except NoFaceError:
        return TrackedClip(clip, [], sum(1 for _ in clip.frames()), sound)
    return TrackedClip(clip, [fit(track) for track in tracks], len(tracks[0]), sound)


class _Together(SilentProgress):
    """Reports stages that run side by side as one."""

    def __init__(self, step: Step) -> None:
        self._step = step

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Step]:
        yield self._step
