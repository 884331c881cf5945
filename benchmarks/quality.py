"""Quality: whether directed clips keep words, pixels and calm, and whether they show the emotion.

    python benchmarks/quality.py [--clips talk_512 ...] [--emotions happy ...] [--work folder]

Every clip is directed to every emotion at full intensity, the written video is decoded and tracked
again, and compared with its source. All measures are taken in the image plane, in frames that get
at least half of the edit (others, such as profiles, are copied) and in which the face was seen, not
interpolated, in both videos; lengths are in units of the frame's own distance between the outer eye
corners (landmarks 33, 263):

aperture   mean distance of the inner-lip pairs 13-14, 82-87, 312-317, 81-178, 311-402; "r" is
           Pearson's correlation of source and result over the clip
closures   a frame is closed if its aperture is below a quarter of the source's 90th percentile, the
           same limit for both; "F1" counts frames and is taken only where the source really speaks:
           its 90th percentile is at least 0.05 and at least 3 of its frames are closed
jaw        distance of the tip of the nose (1) from the chin (152); width: of the mouth corners
           (61, 291); r as above. "moves" is the standard deviation in the source; where it is
           below 0.005 there is no r. (Seven other places were tried in the nose's stead, such
           as bridge and eye corners; none gave a higher r on all clips.)
meant      aperture r and closures F1 of the landmarks that the edit was meant to give (the tracked
           ones plus the displacement that the renderer applies): what is lost here, the speech
           lock loses; what is lost between here and the result, the picture does
outside    PSNR of luma in dB, source against decoded result, over all samples outside the face:
           the hull of the tracked face and of its oval grown 1.32 times (as far as the renderer
           reaches), dilated by 6 % of the face's height. "exact" tells whether all three planes
           were identical there in every frame before encoding
jitter     root mean square of the second difference over time of landmark positions (pixels over
           the clip's median eye distance), result / source, over eyes, brows, mouth and all 468
judge      "source" is the emotion's probability in the source, "gain" its change in the result,
           averaged over frames, for each of two classifiers and their mean

The row "re-encoded" is the source itself, encoded with the same settings and tracked again: what
the tracker and the encoder cost without any edit. "lost" counts frames in which only the source's
face was seen. Needs real footage (NED_CLIPS or --clips-folder); the judges (NED_JUDGE or --judge)
are left out where they are missing. Targets for speech count every talking clip; means of those
whose face is at least 200 pixels high stand beside them as information, not as a target.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import footage
import numpy as np
import table
from numpy.typing import NDArray

EMOTIONS = ("happy", "sad", "angry", "surprised", "fear", "disgusted")
UNEDITED = "re-encoded"
LIMITS = {"aperture": 0.97, "jaw": 0.97, "closures": 0.9, "outside": 50.0, "jitter": 1.1}
GAINS = {"happy": 0.35, "sad": 0.2, "angry": 0.25, "surprised": 0.15}
JUDGED = ("angry", "disgusted", "fear", "happy", "sad", "surprised", "neutral")

_EYES = (33, 263)
_LIP_PAIRS = ((13, 14), (82, 87), (312, 317), (81, 178), (311, 402))
_JAW, _CORNERS = (1, 152), (61, 291)
_RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
_LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
_CLOSED_SHARE, _LEAST_OPENING, _LEAST_CLOSED = 0.25, 0.05, 3
_LEAST_MOVEMENT = 0.005
_LARGE_FACE = 200  # pixels
_EDITED = 0.5  # share of the edit that a frame must get to be measured
_REACH, _SLACK = 1.32, 0.06


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--clips-folder", type=Path)
    parser.add_argument("--judge", type=Path, help="folder of the ONNX classifiers")
    parser.add_argument("--clips", nargs="+", help="names without suffix; default all")
    parser.add_argument("--emotions", nargs="+", choices=EMOTIONS, default=list(EMOTIONS))
    parser.add_argument("--every", type=int, default=3, help="judge every so many frames")
    parser.add_argument("--seconds", type=float, default=10, help="of each clip at most; 0: all")
    parser.add_argument("--preset", default="medium", help="of the encoder")
    parser.add_argument("--intensity", type=float, default=1.0)
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
                every=options.every,
                seconds=seconds,
                preset=options.preset,
                intensity=options.intensity,
            )
            for clip in clips
        ]
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(options.jobs, len(jobs)), mp_context=context) as pool:
            rows = [row for rows in pool.map(measure_clip, jobs) for row in rows]
    return {"machine": table.machine(), "rows": rows}


@dataclasses.dataclass(frozen=True)
class ClipJob:
    """One clip with what is to be done to it; `work` keeps files for the next run."""

    clip: Path
    work: Path
    judge: Path | None
    emotions: tuple[str, ...]
    every: int
    seconds: float
    preset: str
    intensity: float


@dataclasses.dataclass
class Seen:
    """A video as the benchmark sees it.

    Attributes:
        points: (T, 478, 2) float32 pixels, NaN where no face was seen. shots: (T,) int.
        psnr: of what lies outside of the face, in dB. scores: {judge: (T', 7)} probabilities.
    """

    points: NDArray[np.float32]
    shots: NDArray[np.int32]
    psnr: float
    scores: dict[str, NDArray[np.float32]]


@dataclasses.dataclass
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
    from ned.core.clip import Clip
    from ned.core.performance import Performance
    from ned.direct import track_actor
    from renderer.strength import edit_strength

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
    track = performance.track
    regions = Regions(track.landmarks()[..., :2], track.size)
    points = _points(track)
    scores = Judges(job.judge).scores(clip, points, job.every)
    source = Seen(points, track.shots, float("inf"), scores)
    edited = edit_strength(performance) >= _EDITED
    rows = []
    for emotion in (UNEDITED, *job.emotions):
        key = fingerprint(
            *(emotion, job.seconds, job.preset, job.intensity, job.every, job.clip.stat().st_size)
        )
        known = job.work / f"{job.clip.stem}_{emotion}_{key}.json"
        if known.is_file():
            rows.append(json.loads(known.read_text(encoding="utf-8")))
            continue
        started = time.perf_counter()
        result = job.work / f"{job.clip.stem}_{emotion}.mp4"
        made = _make(job, clip, emotion, saved, result, regions) or Made(True, points)
        seen = _see(result, source, regions, job)
        row = {"clip": job.clip.stem, "emotion": emotion, "frames": len(track)}
        row |= {"face": track.mean_height, "exact": made.exact}
        row |= compare(source, seen, made, edited, emotion)
        row["took"] = time.perf_counter() - started
        known.write_text(json.dumps(row), encoding="utf-8")
        rows.append(row)
        np.savez_compressed(
            result.with_suffix(".npz"),
            **{"source": points, "result": seen.points, "meant": made.meant},
            **{"shots": track.shots, "edited": edited},
        )
        print(f"{job.clip.stem} {emotion}: {row['took']:.0f} s", file=sys.stderr, flush=True)
    return rows


def _make(
    job: ClipJob, clip: Any, emotion: str, performance: Path, result: Path, regions: Regions
) -> Made | None:
    """Write a result; None if it is the source encoded again."""
    from ned import direct
    from ned.core.video import EncoderSettings, VideoWriter
    from ned.options import DirectOptions

    options = DirectOptions(
        clip=clip.path,
        output=result,
        emotion=(emotion if emotion != UNEDITED else "neutral",),
        intensity=job.intensity,
        preset=job.preset,
        performance=performance,
        sidecar=False,
    )
    if emotion == UNEDITED:
        settings = EncoderSettings(crf=options.crf, preset=options.preset)
        with VideoWriter(result, clip, settings) as writer:
            for frame in clip.frames():
                writer.write(frame)
        return None
    rendered, exact = direct.rendered, True

    def checked(*arguments: Any, **named: Any) -> Iterator[Any]:
        nonlocal exact
        for source, edited in rendered(*arguments, **named):
            exact = exact and regions.same_outside(source, edited)
            yield source, edited

    direct.rendered = checked  # the very frames that are encoded are looked at
    try:
        done = direct.direct(options)
    finally:
        direct.rendered = rendered
    return Made(exact, _meant(done.performance, done.strength))


def _meant(performance: Any, strength: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, 478, 2) tracked landmarks moved as the renderer moves the picture."""
    from deca.rig import load_rig
    from renderer.warp import WarpRenderer

    rig, renderer = load_rig(), WarpRenderer()
    points = _points(performance.track)
    change = (performance.directed - performance.units) * strength[:, None]
    for frame in np.flatnonzero(performance.track.present):
        rotation = performance.rotation[frame]
        moved = (rig.displacement(change[frame]) @ rotation.T)[:, :2] * performance.scale[frame]
        points[frame, :468] += moved * [1, -1] * renderer.facing(rotation)[:, None]
    return points


def _see(result: Path, source: Seen, regions: Regions, job: ClipJob) -> Seen:
    """Decode and track a result, and compare what lies outside the face."""
    from ned.core.clip import Clip
    from preprocessing.track import track_faces

    clip = Clip.open(result)
    tracks = [_points(track) for track in track_faces(clip)]
    points = min(tracks, key=lambda each: _distance(each, source.points))
    if len(points) != len(source.points):
        raise RuntimeError(f"{result.name} has {len(points)} frames, not {len(source.points)}")
    psnr = regions.psnr_outside(Clip.open(_original(job)), clip)
    return Seen(points, source.shots, psnr, Judges(job.judge).scores(clip, points, job.every))


class Regions:
    """Which pixels of each frame count as outside of the face."""

    def __init__(self, points: NDArray[np.float32], size: tuple[int, int]) -> None:
        from deca.mesh import FACE_OVAL

        self._size = size
        oval = points[:, list(FACE_OVAL)]
        centre = oval.mean(1, keepdims=True)
        self._points = np.concatenate([points[:, :468], centre + (oval - centre) * _REACH], axis=1)
        self._slack = _SLACK * np.ptp(points[:, :468, 1], axis=1)

    def outside(self, frame: int) -> NDArray[np.bool_]:
        """(H, W) True outside of the face and all that the renderer may touch."""
        import cv2

        mask = np.ones(self._size[::-1], np.uint8)
        points = self._points[frame]
        if np.isfinite(points).all():
            hull = cv2.convexHull(points.astype(np.float32))
            outline = np.rint(hull).astype(np.int32)
            cv2.fillConvexPoly(mask, outline, 0)
            thickness = 2 * round(max(float(self._slack[frame]), 8.0))
            cv2.polylines(mask, [outline], True, 0, thickness)
        return mask.astype(bool)

    def same_outside(self, source: Any, edited: Any) -> bool:
        """Whether all three planes of two frames are identical outside of the face."""
        if all(one is other for one, other in zip(source.planes, edited.planes, strict=True)):
            return True
        outside = self.outside(source.index)
        for one, other in zip(source.planes, edited.planes, strict=True):
            down, across = (outside.shape[k] // one.shape[k] for k in (0, 1))
            part = outside[::down, ::across][: one.shape[0], : one.shape[1]]
            if not np.array_equal(one[part], other[part]):
                return False
        return True

    def psnr_outside(self, source: Any, result: Any) -> float:
        """PSNR in dB of the luma outside of the face, over all frames together."""
        error, count, ceiling = 0.0, 0, 2**source.bit_depth - 1
        for one, other in zip(source.frames(), result.frames(), strict=True):
            outside = self.outside(one.index)
            difference = one.planes[0].astype(np.int32) - other.planes[0]
            error += float((difference[outside].astype(np.float64) ** 2).sum())
            count += int(outside.sum())
        return 10 * float(np.log10(ceiling**2 * max(count, 1) / max(error, 1e-9)))


class Judges:
    """The classifiers of a folder."""

    def __init__(self, folder: Path | None) -> None:
        self._sessions: dict[str, Any] = {}
        if folder is None:
            return
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        for path in sorted(folder.glob("*.onnx")):
            self._sessions[path.stem] = onnxruntime.InferenceSession(
                str(path), settings, providers=["CPUExecutionProvider"]
            )

    def scores(
        self, clip: Any, points: NDArray[np.float32], every: int
    ) -> dict[str, NDArray[np.float32]]:
        """{judge: (N, 7)} probabilities of every `every`-th frame, NaN where there is no face."""
        if not self._sessions:
            return {}
        crops: list[NDArray[np.float32] | None] = []
        for frame in clip.frames():
            if frame.index % every == 0 and frame.index < len(points):
                here = points[frame.index]
                crops.append(_crop(frame.rgb(), here) if np.isfinite(here).all() else None)
        known = [k for k, crop in enumerate(crops) if crop is not None]
        result = {}
        for name, session in self._sessions.items():
            scores = np.full((len(crops), len(JUDGED)), np.nan, np.float32)
            if known:
                faces = np.stack([crop for crop in crops if crop is not None])
                scores[known] = session.run(["probabilities"], {"face": faces})[0]
            result[name] = scores
        return result


def compare(
    source: Seen, result: Seen, made: Made, edited: NDArray[np.bool_], emotion: str
) -> dict[str, Any]:
    """The measures of one result against its source, over the `edited` (T,) frames."""
    visible = np.isfinite(source.points).all((1, 2)) & edited
    both = visible & np.isfinite(result.points).all((1, 2))
    one, other, meant = (signals(p[both]) for p in (source.points, result.points, made.meant))
    row: dict[str, Any] = {"seen": int(both.sum()), "lost": int((visible & ~both).sum())}
    for name in one:
        row[name] = correlation(one[name], other[name])
        row[f"{name}_moves"] = float(one[name].std())
    row["closures"], row["closed"] = closures(one["aperture"], other["aperture"])
    row["meant"] = correlation(one["aperture"], meant["aperture"])
    row["meant_closures"], _ = closures(one["aperture"], meant["aperture"])
    row["outside"] = result.psnr
    for name, points in groups().items():
        before = unrest(source.points[:, points], source.points, source.shots, both)
        after = unrest(result.points[:, points], source.points, source.shots, both)
        row[f"jitter_{name}"] = after / before if before > 0 else float("nan")
    if emotion in JUDGED:
        column = JUDGED.index(emotion)
        for name, scores in result.scores.items():
            pair = scores[:, column], source.scores[name][:, column]
            row[f"gain_{name}"] = float(np.nanmean(pair[0] - pair[1]))
        before = [np.nanmean(scores[:, column]) for scores in source.scores.values()]
        row["source"] = float(np.mean(before)) if before else float("nan")
        gains = [value for name, value in row.items() if name.startswith("gain_")]
        row["gain"] = float(np.mean(gains)) if gains else float("nan")
    return row


def signals(points: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """(T, 478, 2) pixels -> (T,) aperture, jaw and mouth width in distances of the eye corners."""

    def between(first: int, second: int) -> NDArray[np.float32]:
        return np.linalg.norm(points[:, first] - points[:, second], axis=1)

    eyes = between(*_EYES)
    return {
        "aperture": np.mean([between(*pair) for pair in _LIP_PAIRS], axis=0) / eyes,
        "jaw": between(*_JAW) / eyes,
        "width": between(*_CORNERS) / eyes,
    }


def correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Pearson's r; NaN where the source does not move."""
    if len(one) < 3 or one.std() < _LEAST_MOVEMENT or other.std() == 0:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def closures(source: NDArray[np.float32], result: NDArray[np.float32]) -> tuple[float, int]:
    """F1 of the closed frames, NaN where the source does not speak; and how many it has."""
    if len(source) == 0:
        return float("nan"), 0
    usual = float(np.quantile(source, 0.9))
    limit = _CLOSED_SHARE * usual
    wanted, found = source < limit, result < limit
    count = int(wanted.sum())
    if usual < _LEAST_OPENING or count < _LEAST_CLOSED:
        return float("nan"), count
    return 2 * float((wanted & found).sum()) / float(wanted.sum() + found.sum()), count


def unrest(
    points: NDArray[np.float32],
    scale_points: NDArray[np.float32],
    shots: NDArray[np.int32],
    usable: NDArray[np.bool_],
) -> float:
    """Root mean square of the second differences of (T, N, 2) pixels in median eye distances."""
    eyes = np.linalg.norm(scale_points[:, _EYES[0]] - scale_points[:, _EYES[1]], axis=1)
    together = usable[2:] & usable[1:-1] & usable[:-2] & (shots[2:] == shots[:-2])
    if not together.any():
        return float("nan")
    second = (points[2:] - 2 * points[1:-1] + points[:-2])[together]
    return float(np.sqrt(np.mean(second.astype(np.float64) ** 2)) / np.nanmedian(eyes))


def groups() -> dict[str, list[int]]:
    """Landmarks of the parts whose jitter is measured."""
    from deca import mesh as face

    eyes = {*face.RIGHT_UPPER_LID, *face.RIGHT_LOWER_LID}
    eyes |= {*face.LEFT_UPPER_LID, *face.LEFT_LOWER_LID}
    mouth = {*face.UPPER_INNER_LIP, *face.LOWER_INNER_LIP}
    mouth |= {*face.UPPER_OUTER_LIP, *face.LOWER_OUTER_LIP}
    return {
        "eyes": sorted(eyes),
        "brows": [*_RIGHT_BROW, *_LEFT_BROW],
        "mouth": sorted(mouth),
        "all": list(range(468)),
    }


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
        rooms += ["manipulator", "renderer"]
    for room in rooms:
        for path in sorted((footage.ROOT / room).rglob("*")):
            if path.suffix in (".py", ".yaml", ".safetensors"):
                if parts[0] == "source" and path.name in ("emotions.yaml", "shading.yaml"):
                    continue
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _original(job: ClipJob) -> Path:
    """The footage that was directed: the clip, or its beginning."""
    if not job.seconds:
        return job.clip
    key = fingerprint("source", job.seconds, job.clip.stat().st_size)
    return job.work / f"{job.clip.stem}_{key}{job.clip.suffix}"


def _shorten(clip: Path, path: Path, seconds: float) -> None:
    partial = path.with_name(f"partial_{path.name}")
    footage.write_length(clip, partial, seconds, repeated=False)
    partial.replace(path)


def _points(track: Any) -> NDArray[np.float32]:
    """(T, 478, 2) pixels, NaN where the face was not seen."""
    points = track.landmarks()[..., :2].copy()
    points[~track.present | track.interpolated] = np.nan
    return points


def _distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Mean distance of two faces' centres; infinite if they are never seen together."""
    if len(one) != len(other):
        return float("inf")
    apart = np.linalg.norm(one.mean(1) - other.mean(1), axis=1)
    return float(np.nanmean(apart)) if np.isfinite(apart).any() else float("inf")


def _crop(image: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """(1, 64, 64) grey in [-1, 1]: the square that the judges want to see."""
    import cv2

    low, high = points[:468].min(0), points[:468].max(0)
    width, height = high - low
    x, y = (low + high) / 2
    y -= 0.05 * height
    half = 0.6 * max(width, height)
    left, top, side = round(float(x - half)), round(float(y - half)), round(float(2 * half))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    pad = side
    rows, columns = slice(max(0, top), top + side), slice(max(0, left), left + side)
    part = grey[rows, columns]
    if part.shape != (side, side):
        padded = cv2.copyMakeBorder(grey, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        part = padded[top + pad : top + pad + side, left + pad : left + pad + side]
    small = cv2.resize(part, (64, 64), interpolation=cv2.INTER_AREA)
    return ((small.astype(np.float32) / 255 - 0.5) * 2)[None]


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
