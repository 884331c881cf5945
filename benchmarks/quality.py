"""Quality: whether directed clips keep words, pixels and calm, and whether they show the emotion.

    python -m benchmarks.quality [--clips talk_512 ...] [--emotions happy ...] [--work folder]

Every clip is directed to every emotion at full intensity, and the written video is scored against
its source as `ned evaluate` scores it: decoded and tracked again; docs/evaluation.md defines the
metrics. Lips, jaw and jitter are compared in the frames that get at least half of the edit (others,
such as profiles, are copied) and in which the face was seen, not interpolated, in both videos;
pictures and classifiers' verdicts in all frames. The columns:

aperture   speech.aperture_r; jaw: speech.jaw_r; width: speech.width_r. "moves" is the standard
           deviation in the source; where it hardly moves there is no r
closures   speech.closure_f1, taken only where the source really speaks
outside    background.psnr in dB
jitter     temporal.jitter_eyes, _brows, _mouth and _all, result / source
judge      "source" is the emotion's probability in the source, "gain" emotion.change, for each of
           two classifiers and their mean

What only the making of a result can tell:

meant      aperture r and closures F1 of the landmarks that the edit was meant to give (the tracked
           ones plus the displacement that the renderer applies): what is lost here, the speech
           lock loses; what is lost between here and the result, the picture does
exact      whether all three planes were identical outside of the face in every frame before
           encoding; the face is that of evaluation/region.py

The row "re-encoded" is the source itself, encoded with the same settings and tracked again: what
the tracker and the encoder cost without any edit. "lost" counts frames in which only the source's
face was seen. x264 with several threads does not write the same pixels twice, and small faces tell:
a clip whose face is 147 pixels high, merely encoded again five times, had closures F1 from 0.74 to
0.95. Needs real footage (NED_CLIPS or --clips-folder); the judges (NED_JUDGE or --judge) are left
out where they are missing. Targets for speech count every talking clip; means of those whose face
is at least 200 pixels high stand beside them as information, not as a target.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks import footage, table
from ned.core.script import emotions

EMOTIONS = tuple(name for name in emotions.EMOTIONS if name not in ("contempt", "neutral"))
UNEDITED = "re-encoded"
LIMITS = {"aperture": 0.97, "jaw": 0.97, "closures": 0.9, "outside": 50.0, "jitter": 1.1}
GAINS = {"happy": 0.35, "sad": 0.2, "angry": 0.25, "surprised": 0.15}
SCORES = {
    "aperture": "speech.aperture_r",
    "jaw": "speech.jaw_r",
    "width": "speech.width_r",
    "closures": "speech.closure_f1",
    "outside": "background.psnr",
    **{f"jitter_{part}": f"temporal.jitter_{part}" for part in ("eyes", "brows", "mouth", "all")},
}

_OF_SOURCE = ("aperture_moves", "jaw_moves", "closed", "meant", "meant_closures")
_LARGE_FACE = 200  # pixels
_EDITED = 0.5  # share of the edit that a frame must get to be measured


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--clips-folder", type=Path)
    parser.add_argument("--judge", type=Path, help="folder of the ONNX classifiers")
    parser.add_argument("--clips", nargs="+", help="names without suffix; default all")
    parser.add_argument("--emotions", nargs="+", choices=EMOTIONS, default=list(EMOTIONS))
    parser.add_argument("--seconds", type=float, default=10, help="of each clip at most; 0: all")
    parser.add_argument("--preset", default="medium", help="of the encoder")
    parser.add_argument("--intensity", type=float, default=1.0)
    parser.add_argument("--director", choices=("procedural", "learned"), default="procedural")
    parser.add_argument("--renderer", choices=("warp", "hybrid", "neural"), default="warp")
    parser.add_argument("--models", type=Path, help="folder with an actor model per clip's name")
    parser.add_argument("--work", type=Path, help="keep tracks and results here for the next run")
    parser.add_argument("--jobs", type=int, default=2, help="clips measured at the same time")
    parser.add_argument("--quick", action="store_true", help="two clips, three seconds of each")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data = measure(options)
    print(report(data))
    table.save(options.json, data)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All numbers of this script: a row per clip and emotion."""
    names = options.clips or (["talk_512", "mead_W036_happy_3"] if options.quick else None)
    clips = footage.find_clips(footage.clips_folder(options.clips_folder), names)
    judge = footage.folder(options.judge, "NED_JUDGE", "shared/judge")
    if judge is None:
        print("no classifiers: set NED_JUDGE to their folder to judge emotions", file=sys.stderr)
    seconds = min(options.seconds or 3.0, 3.0) if options.quick else options.seconds
    with tempfile.TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        jobs = [
            ClipJob(
                clip=clip,
                work=work,
                judge=judge,
                emotions=tuple(options.emotions),
                seconds=seconds,
                preset=options.preset,
                intensity=options.intensity,
                director=options.director,
                renderer=options.renderer,
                model=None if options.renderer == "warp" else options.models / clip.stem,
            )
            for clip in clips
        ]
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(options.jobs, len(jobs)), mp_context=context) as pool:
            rows = [row for rows in pool.map(measure_clip, jobs) for row in rows]
    return {"machine": table.machine(), "rows": rows}


@dataclass(frozen=True)
class ClipJob:
    """One clip with what is to be done to it; `work` keeps files for the next run."""

    clip: Path
    work: Path
    judge: Path | None
    emotions: tuple[str, ...]
    seconds: float
    preset: str
    intensity: float
    director: Literal["procedural", "learned"] = "procedural"
    renderer: Literal["warp", "hybrid", "neural"] = "warp"
    model: Path | None = None


@dataclass(frozen=True)
class Made:
    """What is known of a result from its making.

    Attributes:
        exact: nothing outside of the face differed before encoding.
        meant: (T, 478, 2) float32 landmarks that the edit should give.
    """

    exact: bool
    meant: NDArray[np.float32]


def measure_clip(job: ClipJob) -> list[dict[str, Any]]:
    """Direct one clip to every emotion and measure each, after the source encoded again."""
    from deca.fitting import fit
    from ned.commands.direct import track_actor
    from ned.core.face.performance import Performance
    from ned.core.film.clip import Clip
    from ned.evaluation.classifier import find_classifiers
    from ned.evaluation.emotion_judge import EmotionJudge
    from ned.evaluation.judges import Judges
    from ned.evaluation.sound import Sound
    from ned.evaluation.tracked_clip import TrackedClip

    print(f"{job.clip.stem} ...", file=sys.stderr, flush=True)
    path, key = job.clip, fingerprint("source", job.seconds, job.clip.stat().st_size)
    if job.seconds:
        path = job.work / f"{job.clip.stem}_{key}{job.clip.suffix}"
        if not path.is_file():
            _shorten(job.clip, path, job.seconds)
    clip = Clip.open(path)
    saved = job.work / f"{job.clip.stem}_{key}.safetensors"
    if saved.is_file():
        performance = Performance.load(saved)
    else:
        performance = fit(track_actor(clip, 0))
        performance.save(saved)
    source = TrackedClip(clip, [performance], len(performance), Sound.open(path))
    classifiers = find_classifiers(job.judge, threads=1) if job.judge is not None else []
    judges = Judges([EmotionJudge(classifiers)] if classifiers else [])
    settings = (job.seconds, job.preset, job.intensity, job.director, job.clip.stat().st_size)
    if job.model is not None:
        settings += (
            job.renderer,
            str(job.model),
            max(f.stat().st_mtime for f in job.model.iterdir()),
        )
    known_judges = [(c.name, c.path.stat().st_size) for c in classifiers]
    rows = []
    for emotion in (UNEDITED, *job.emotions):
        known = (
            job.work
            / f"{job.clip.stem}_{emotion}_{fingerprint(emotion, settings, known_judges)}.json"
        )
        if not known.is_file():
            started = time.perf_counter()
            result = job.work / f"{job.clip.stem}_{emotion}.mp4"
            made = _make(job, source, emotion, saved, result)
            row = {"clip": job.clip.stem, "emotion": emotion, "frames": len(performance)}
            row |= {"face": performance.track.mean_height, "exact": made.exact}
            row |= score(source, result, made, judges, emotion)
            row["took"] = time.perf_counter() - started
            table.save(known, row)
            print(f"{job.clip.stem} {emotion}: {row['took']:.0f} s", file=sys.stderr, flush=True)
        rows.append(table.load(known))
    return rows


def _make(job: ClipJob, source: Any, emotion: str, performance: Path, result: Path) -> Made:
    """Write a result, or the source encoded again."""
    from ned.commands import direct
    from ned.core.film.video import EncoderSettings, VideoWriter
    from ned.evaluation.region import FaceRegion
    from ned.options import DirectOptions

    clip, points = source.clip, source.points(source.faces[0])
    options = DirectOptions(
        clip=clip.path,
        output=result,
        emotion=(emotion if emotion != UNEDITED else "neutral",),
        intensity=job.intensity,
        director=job.director,
        renderer=job.renderer,
        actor_model=job.model,
        preset=job.preset,
        performance=performance,
        sidecar=False,
    )
    if emotion == UNEDITED:
        settings = EncoderSettings(crf=options.crf, preset=options.preset)
        with VideoWriter(result, clip, settings) as writer:
            for frame in clip.frames():
                writer.write(frame)
        return Made(True, points)
    rendered, exact, region = direct.rendered, True, FaceRegion([points], clip.size)

    def checked(*arguments: Any, **named: Any) -> Iterator[Any]:
        nonlocal exact
        for before, after in rendered(*arguments, **named):
            exact = exact and same_outside(region, before, after)
            yield before, after

    direct.rendered = checked  # the very frames that are encoded are looked at
    try:
        done = direct.direct(options)
    finally:
        direct.rendered = rendered
    return Made(exact, _meant(done.performance, done.strength))


def _meant(performance: Any, strength: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, 478, 2) tracked landmarks moved as the renderer moves the picture."""
    from deca.rig import load_rig
    from ned.evaluation.landmarks import seen_points
    from renderer.warp.renderer import WarpRenderer

    rig, renderer = load_rig(), WarpRenderer()
    points = seen_points(performance.track)
    change = (performance.directed - performance.units) * strength[:, None]
    for frame in np.flatnonzero(performance.track.present):
        rotation = performance.rotation[frame]
        moved = (rig.displacement(change[frame]) @ rotation.T)[:, :2] * performance.scale[frame]
        points[frame, :468] += moved * [1, -1] * renderer.facing(rotation)[:, None]
    return points


def same_outside(region: Any, source: Any, edited: Any) -> bool:
    """Whether all three planes of two frames are identical outside of a `FaceRegion`."""
    if all(one is other for one, other in zip(source.planes, edited.planes, strict=True)):
        return True
    outside = region.outside(source.index)
    for one, other in zip(source.planes, edited.planes, strict=True):
        down, across = (outside.shape[k] // one.shape[k] for k in (0, 1))
        part = outside[::down, ::across][: one.shape[0], : one.shape[1]]
        if not np.array_equal(one[part], other[part]):
            return False
    return True


def score(source: Any, result: Path, made: Made, judges: Any, emotion: str) -> dict[str, Any]:
    """The measures of one result against its source (`evaluation.tracked_clip.TrackedClip`)."""
    from ned.commands.evaluate import see
    from ned.core.film.clip import Clip
    from ned.evaluation.bootstrap import block_length
    from ned.evaluation.comparison import Comparison
    from ned.evaluation.emotion import MEAN_OF_JUDGES
    from ned.evaluation.landmarks import signals
    from ned.evaluation.speech import closure_limit, lip_scores
    from ned.evaluation.video_networks import VideoNetworks
    from renderer.strength import edit_strength

    seen, target = see(Clip.open(result)), emotion if emotion in EMOTIONS else None
    if seen.frames != source.frames:
        raise RuntimeError(f"{result.name} has {seen.frames} frames, not {source.frames}")
    edited = edit_strength(source.faces[0]) >= _EDITED
    comparison = Comparison(source, seen, judges, VideoNetworks(), target, compared=edited)
    comparison.run()
    scores = {s.metric: s for s in comparison.scores if not s.judge}
    points = source.points(source.faces[0])
    visible = np.isfinite(points).all((1, 2)) & edited
    compared = scores["speech.aperture_error"].count if "speech.aperture_error" in scores else 0
    row: dict[str, Any] = {"seen": compared, "lost": int(visible.sum()) - compared}
    row |= {n: scores[m].value if m in scores else float("nan") for n, m in SCORES.items()}
    row |= dict.fromkeys(_OF_SOURCE, float("nan"))
    if visible.any():
        moving = signals(points[visible])
        row |= {f"{name}_moves": float(signal.std()) for name, signal in moving.items()}
        limit = closure_limit(moving["aperture"])
        if limit is not None:
            row["closed"] = int((moving["aperture"] < limit).sum())
        block = block_length(comparison.frame_rate)
        found, _ = lip_scores(points[visible], made.meant[visible], block)
        meant = {s.metric: s.value for s in found}
        row["meant"] = meant.get("speech.aperture_r", float("nan"))
        row["meant_closures"] = meant.get("speech.closure_f1", float("nan"))
    if target is not None and comparison.labels:
        gains = [s for s in comparison.scores if s.metric == "emotion.change"]
        row |= {f"gain_{s.judge}": s.value for s in gains if s.judge != MEAN_OF_JUDGES}
        row["gain"] = _mean([s.value for s in gains if s.judge != MEAN_OF_JUDGES])
        row["source"] = _mean(
            [float(each.source[:, each.names.index(target)].mean()) for each in comparison.labels]
        )
    return row


def report(data: dict[str, Any]) -> str:
    """The numbers as Markdown: every result, then means per clip and per emotion, and targets."""
    rows = data["rows"]
    return "\n".join(
        [
            f"### Quality ({data['machine']})\n",
            "Every result (r: correlation with the source; jitter: ratio to the source):\n",
            table.markdown(_HEADINGS, [_cells(row) for row in rows]),
            "\nPer clip, worst over the emotions, and the same for the clip only encoded again:\n",
            _per_clip(rows),
            "\nPer emotion, means over the clips; lips and jaw over the talking ones, and over "
            f"those of them with faces of at least {_LARGE_FACE} pixels (large):\n",
            _per_emotion(rows),
        ]
    )


def targets(rows: list[dict[str, Any]]) -> list[tuple[str, float, float, bool]]:
    """Name, value, target, and whether the target is an upper limit; worst clip and emotion."""
    edited = [row for row in rows if row["emotion"] != UNEDITED]
    talking = [row for row in edited if row["clip"] in footage.TALKING]
    result: list[tuple[str, float, float, bool]] = []
    for name in ("aperture", "closures", "jaw"):
        for words, choose in (("mean", _mean), ("least", _least)):
            value = choose([row[name] for row in talking])
            result.append((f"{name}, {words} of the talking clips", value, LIMITS[name], False))
    result.append(("PSNR outside, least", _least([r["outside"] for r in edited]), 50.0, False))
    exact = float(all(row["exact"] for row in edited))
    result.append(("exact outside before encoding, 1 = everywhere", exact, 1.0, False))
    jitter = [row["jitter_all"] for row in edited]
    result.append(("jitter, mean", _mean(jitter), LIMITS["jitter"], True))
    result.append(("jitter, most", -_least([-value for value in jitter]), LIMITS["jitter"], True))
    for emotion, target in GAINS.items():
        gains = [row.get("gain", float("nan")) for row in edited if row["emotion"] == emotion]
        result.append(
            (f"judges' gain of {emotion}, mean of the clips", _mean(gains), target, False)
        )
    return result


_HEADINGS = (
    *("clip", "emotion", "frames", "lost", "aperture r", "closures F1", "meant r", "meant F1"),
    *("jaw r", "width r"),
    *(
        "outside dB",
        "exact",
        "jitter eyes",
        "brows",
        "mouth",
        "all",
        "source",
        "gain",
        "judge a",
        "b",
    ),
)


def _cells(row: dict[str, Any]) -> list[Any]:
    gains = [value for name, value in sorted(row.items()) if name.startswith("gain_")]
    return [
        *(row["clip"], row["emotion"], row["seen"], row["lost"], row["aperture"]),
        *(row["closures"], row["meant"], row["meant_closures"]),
        *(row["jaw"], row["width"], row["outside"], row["exact"]),
        *(row[f"jitter_{name}"] for name in ("eyes", "brows", "mouth", "all")),
        *(row.get("source"), row.get("gain"), *[*gains, None, None][:2]),
    ]


def _per_clip(rows: list[dict[str, Any]]) -> str:
    lines = []
    for clip in dict.fromkeys(row["clip"] for row in rows):
        plain = next(r for r in rows if r["clip"] == clip and r["emotion"] == UNEDITED)
        edited = [r for r in rows if r["clip"] == clip and r["emotion"] != UNEDITED]
        if not edited:
            continue
        talks = clip in footage.TALKING
        worst = {
            name: _least([row[name] for row in edited])
            for name in ("aperture", "closures", "jaw", "width", "outside")
        }
        jitter = max(row["jitter_all"] for row in edited)
        met = [
            table.verdict(worst["aperture"], LIMITS["aperture"]) if talks else "-",
            table.verdict(worst["closures"], LIMITS["closures"]) if talks else "-",
            table.verdict(worst["jaw"], LIMITS["jaw"]) if talks else "-",
            table.verdict(worst["outside"], LIMITS["outside"]),
            table.verdict(jitter, LIMITS["jitter"], at_least=False),
        ]
        lines.append(
            [
                *(clip, round(plain["face"]), talks, plain["aperture_moves"]),
                *(plain["jaw_moves"], plain["closed"]),
                *(f"{_short(worst[n])} ({_short(plain[n])})" for n in ("aperture", "closures")),
                *(f"{_short(worst[n])} ({_short(plain[n])})" for n in ("jaw", "width", "outside")),
                all(row["exact"] for row in edited),
                f"{_short(jitter)} ({_short(plain['jitter_all'])})",
                " ".join(met),
            ]
        )
    headings = (
        *("clip", "face height", "talks", "aperture moves", "jaw moves", "closed frames"),
        "aperture r",
        *("closures F1", "jaw r", "width r", "outside dB", "exact", "jitter all"),
        "met: aperture, F1, jaw, outside, jitter",
    )
    return table.markdown(headings, lines)


def _per_emotion(rows: list[dict[str, Any]]) -> str:
    lines = []
    for emotion in dict.fromkeys(row["emotion"] for row in rows):
        own = [row for row in rows if row["emotion"] == emotion]
        talking = [row for row in own if row["clip"] in footage.TALKING]
        large = [row for row in talking if row["face"] >= _LARGE_FACE]
        gain = _mean([row.get("gain") for row in own])
        lines.append(
            [
                emotion,
                *(_mean([r[n] for r in talking]) for n in ("aperture", "closures", "jaw", "width")),
                *(_mean([r[n] for r in large]) for n in ("aperture", "closures", "jaw")),
                *(_mean([row[f"jitter_{n}"] for row in own]) for n in ("eyes", "brows", "mouth")),
                _mean([row["jitter_all"] for row in own]),
                gain,
                GAINS.get(emotion),
                table.verdict(gain, GAINS[emotion]) if emotion in GAINS else "-",
            ]
        )
    headings = (
        *("emotion", "aperture r", "closures F1", "jaw r", "width r"),
        *("large: aperture r", "closures F1", "jaw r"),
        *("jitter eyes", "brows", "mouth", "all", "judge gain", "target", "met"),
    )
    return table.markdown(headings, lines)


def fingerprint(*parts: Any) -> str:
    """A short key of what a kept file depends on: some values and all of the product's code."""
    digest = hashlib.sha256(repr(parts).encode())
    rooms = ["ned", "preprocessing", "deca", "configs"]
    if parts[0] != "source":
        rooms += ["manipulator", "renderer", "evaluation"]
    for room in rooms:
        for path in sorted((footage.ROOT / room).rglob("*")):
            if path.suffix in (".py", ".yaml", ".safetensors"):
                if parts[0] == "source" and path.name in ("emotions.yaml", "shading.yaml"):
                    continue
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _shorten(clip: Path, path: Path, seconds: float) -> None:
    partial = path.with_name(f"partial_{path.name}")
    footage.write_length(clip, partial, seconds, repeated=False)
    partial.replace(path)


def _mean(values: list[float | None]) -> float:
    known = [value for value in values if value is not None and not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _least(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return min(known) if known else float("nan")


def _short(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.1f}" if value >= 20 else f"{value:.3f}"


if __name__ == "__main__":
    main()
