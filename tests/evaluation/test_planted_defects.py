"""Planted defects: every metric must find the video that has its defect the worst of all.

All videos are the talking portrait. "edited" is directed to happy and stands for a good result;
"passthrough" is the untouched source; every other one has one defect.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx_writer
import pytest
from conftest import write_talking_clip
from numpy.typing import NDArray

from ned.commands.direct import direct, track_actor
from ned.commands.evaluate import Evaluator
from ned.core.film.clip import Clip
from ned.evaluation import frechet
from ned.evaluation.catalogue import METRICS
from ned.evaluation.judges import Judges
from ned.evaluation.landmarks import seen_points
from ned.evaluation.pairs import Pair
from ned.evaluation.result import PairResult
from ned.evaluation.video_networks import VideoNetworks
from ned.options import DirectOptions

Picture = NDArray[np.uint8]

# The defects of which one must be the worst of all by a metric.
WORST = {
    "speech.aperture_r": ("mouth frozen",),
    "speech.aperture_error": ("mouth frozen",),
    "speech.jaw_r": ("mouth frozen",),
    "speech.closure_recall": ("mouth frozen",),
    "speech.closure_f1": ("mouth frozen",),
    "speech.audio_lag": ("audio shifted",),
    "identity.rig_distance": ("identity swapped",),
    "pose.rotation": ("head turned",),
    "pose.translation": ("head turned",),
    "background.colour_shift": ("colour shift",),
    "realism.colour_shift": ("colour shift",),
    "realism.sharpness": ("blur",),
    "temporal.flicker": ("flicker",),
    "temporal.warping_error": ("flicker", "jitter"),
    "temporal.jitter_all": ("jitter",),
    "temporal.jitter_brows": ("jitter",),
}
SPEAKS_OF_LIPS = ("speech.aperture_r", "speech.closure_f1", "speech.aperture_error")


def brightness(image: Picture, index: int) -> Picture:
    """Every other frame is a little brighter."""
    return np.clip(image.astype(np.int16) + 14 * (index % 2), 0, 255).astype(np.uint8)


def blurred(image: Picture, index: int) -> Picture:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 2.5))


def tinted(image: Picture, index: int) -> Picture:
    return np.clip(image.astype(np.int16) + np.array([22, -4, -18]), 0, 255).astype(np.uint8)


def shaken(image: Picture, index: int) -> Picture:
    """The face is bent to and fro, in waves that are new in every frame."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    phase = np.random.default_rng(index).uniform(0, 6.28, 2)
    bent_x = x + 1.5 * np.sin(y / 25 + phase[0]).astype(np.float32)
    bent_y = y + 1.5 * np.sin(x / 25 + phase[1]).astype(np.float32)
    return np.asarray(cv2.remap(image, bent_x, bent_y, cv2.INTER_LINEAR, borderMode=1))


def turned(image: Picture, index: int) -> Picture:
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 6.0, 1.0)
    turn[:, 2] += (10, 5)
    return np.asarray(cv2.warpAffine(image, turn, (width, height), borderMode=1))


def somebody_else(image: Picture, index: int) -> Picture:
    """The same film with another skull: a narrow chin, a broad forehead, eyes further apart."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    middle = (image.shape[1] / 2, image.shape[0] / 2)
    narrower = 1 + 0.22 * np.tanh((y - middle[1] + 30) / 45)
    across = (middle[0] + (x - middle[0]) * narrower).astype(np.float32)
    return np.asarray(cv2.remap(image, across, y, cv2.INTER_LINEAR, borderMode=1))


def judge_of_smiles(happy: Path, sad: Path, folder: Path) -> Path:
    """A linear classifier of "happy" and "sad", fitted to the first second of both videos.

    Returns its description.
    """
    crops, wanted = [], []
    for column, path in enumerate((happy, sad)):
        clip = Clip.open(path)
        points = seen_points(track_actor(clip, 0))
        low, high = points[:, :468].min(1), points[:, :468].max(1)
        for frame in clip.frames():
            if frame.index >= 25:
                break
            centre = (low[frame.index] + high[frame.index]) / 2
            half = 0.6 * float((high[frame.index] - low[frame.index]).max())
            left, top = (centre - half).round().astype(int)
            side = round(2 * half)
            part = frame.rgb()[top : top + side, left : left + side]
            grey = cv2.resize(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=3)
            crops.append(np.asarray(grey, np.float64).ravel() / 255)
            wanted.append(column)
    table = np.array(crops)
    centre = table.mean(0)
    sides = np.where(np.array(wanted) == 0, 1.0, -1.0)
    gram = (table - centre) @ (table - centre).T
    direction = (table - centre).T @ np.linalg.solve(gram + 0.5 * np.eye(len(gram)), sides)
    weight = 0.6 * np.stack([direction, -direction], axis=1)
    (folder / "smiles.onnx").write_bytes(
        onnx_writer.linear(("n", 1, 32, 32), weight, -centre @ weight)
    )
    (folder / "smiles.yaml").write_text(
        "file: smiles.onnx\nsize: 32\ncolour: grey\nhalf_side: 0.6\nsoftmax: true\n"
        "labels: [happy, sad]\n",
        encoding="utf-8",
    )
    return folder / "smiles.yaml"


@pytest.fixture(scope="module")
def results(
    portrait: Picture, talking_clip: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, PairResult]:
    """What the evaluation says of every video, by the name of its defect."""
    folder = tmp_path_factory.mktemp("defects")
    videos: dict[str, Path] = {"passthrough": talking_clip}
    for name, emotion in (("edited", "happy"), ("wrong emotion", "sad")):
        videos[name] = folder / f"{emotion}.mp4"
        direct(
            DirectOptions(talking_clip, videos[name], (emotion,), sidecar=False, preset="ultrafast")
        )
    changes: dict[str, Callable[[Picture, int], Picture]] = {
        "flicker": brightness,
        "blur": blurred,
        "colour shift": tinted,
        "jitter": shaken,
        "head turned": turned,
        "identity swapped": somebody_else,
    }
    for name, change in changes.items():
        videos[name] = folder / f"{name.replace(' ', '_')}.mp4"
        write_talking_clip(videos[name], portrait, change=change)
    for name in ("audio shifted", "mouth frozen"):
        videos[name] = folder / f"{name.replace(' ', '_')}.mp4"
    write_talking_clip(videos["audio shifted"], portrait, delay=1 / 25)
    write_talking_clip(videos["mouth frozen"], portrait, opening=0.6)
    judge = judge_of_smiles(videos["edited"], videos["wrong emotion"], folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NED_ASSETS", str(folder))  # there are none
        evaluator = Evaluator(Judges.find({"emotion": [judge]}), VideoNetworks.find())
        return {
            name: evaluator.evaluate(Pair(name, talking_clip, path, emotion="happy"))
            for name, path in videos.items()
        }


def badness(result: PairResult, metric: str) -> float | None:
    """How bad a result is by a metric; None where it was left out."""
    found = [score.value for score in result.scores if score.metric == metric]
    if not found:
        return None
    better = METRICS[metric].better
    return {"higher": -found[0], "lower": found[0], "near zero": abs(found[0])}[better]


@pytest.mark.parametrize("metric", WORST)
def test_the_defect_is_the_worst(results: dict[str, PairResult], metric: str):
    ranked = {name: badness(result, metric) for name, result in results.items()}
    known = {name: value for name, value in ranked.items() if value is not None}
    assert known.keys() >= set(WORST[metric]), f"{metric} was left out"
    worst = max(known, key=lambda name: known[name])
    assert worst in WORST[metric], known
    others = [value for name, value in known.items() if name not in WORST[metric]]
    assert known[worst] > max(others), known


def test_a_passthrough_is_perfect_where_a_copy_can_be(results: dict[str, PairResult]):
    taken = 0
    for score in results["passthrough"].scores:
        perfect = METRICS[score.metric].perfect
        if perfect is not None:
            assert score.value == pytest.approx(perfect, abs=1e-9), score
            taken += 1
    assert taken >= 30


def test_a_passthrough_changes_no_emotion(results: dict[str, PairResult]):
    gains = {
        name: -(badness(results[name], "emotion.change") or 0)
        for name in ("edited", "passthrough", "wrong emotion")
    }
    assert gains["edited"] > 0.02 > gains["passthrough"] == 0 > gains["wrong emotion"] + 0.1
    shares = [badness(results[name], "emotion.accuracy") for name in ("edited", "wrong emotion")]
    assert shares == [-1, 0]


def test_a_late_sound_is_told_in_frames(results: dict[str, PairResult]):
    lag = next(s for s in results["audio shifted"].scores if s.metric == "speech.audio_lag")
    assert lag.value == pytest.approx(1.0, abs=0.3)


def test_the_edit_keeps_its_lips(results: dict[str, PairResult]):
    """A good edit must rank near the copy, far from the frozen mouth."""
    for metric in SPEAKS_OF_LIPS:
        good, bad = (badness(results[name], metric) for name in ("edited", "mouth frozen"))
        perfect = badness(results["passthrough"], metric)
        assert good is not None and bad is not None and perfect is not None
        assert good - perfect < 0.5 * (bad - perfect), metric


def test_every_score_lies_in_the_range_of_its_metric(results: dict[str, PairResult]):
    for result in results.values():
        for score in result.scores:
            low, high = METRICS[score.metric].range
            assert low <= score.value <= high, score


def test_what_is_left_out_has_a_reason(results: dict[str, PairResult]):
    of_pairs = METRICS.keys() - {metric.name for metric in frechet.METRICS}
    for result in results.values():
        measured = {score.metric for score in result.scores}
        skipped = {name for skip in result.skips for name in skip.metrics}
        assert not measured & skipped
        assert of_pairs <= measured | skipped, of_pairs - measured - skipped
        assert all(len(skip.reason) > 8 and "\n" not in skip.reason for skip in result.skips)
