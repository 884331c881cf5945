"""`ned evaluate` from end to end: one result, many, odd ones, and a study of raters."""

from __future__ import annotations

import csv
import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import onnx_writer
import pytest
import torch
from conftest import write_talking_clip
from made_up_weights import Means, write_lpips
from numpy.typing import NDArray

from ned.cli import main
from ned.commands.evaluate import evaluate
from ned.core.errors import InputError
from ned.evaluation import frechet
from ned.evaluation.catalogue import METRICS
from ned.evaluation.pairs import Pair, emotion_of, find_pairs
from ned.options import EvaluateOptions


@pytest.fixture(autouse=True)
def no_assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NED_ASSETS", str(tmp_path / "assets"))
    monkeypatch.delenv("NED_JUDGE", raising=False)


@pytest.fixture(scope="module")
def short(portrait: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second and more of the talking portrait, 14 frames, small."""
    path = tmp_path_factory.mktemp("short") / "short.mp4"
    write_talking_clip(path, portrait, seconds=0.56, size=(240, 240))
    return path


@pytest.fixture(scope="module")
def landscape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of nobody, as long and large as `short`."""
    path = tmp_path_factory.mktemp("landscape") / "landscape.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 240, 240, "yuv420p"
        for index in range(14):
            image = np.full((240, 240, 3), 90 + index, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(video.encode())
    return path


def scores_of(folder: Path) -> dict[str, float]:
    """{metric: value} of the only result of a run."""
    rows = csv.DictReader((folder / "scores.csv").read_text(encoding="utf-8-sig").splitlines())
    return {row["metric"]: float(row["value"]) for row in rows if row["value"]}


def skips_of(folder: Path) -> dict[str, str]:
    """{what was skipped: reason} of the only result of a run."""
    pair = json.loads((folder / "scores.json").read_text(encoding="utf-8"))["pairs"][0]
    return {name: skip["reason"] for skip in pair["skips"] for name in skip["metrics"]}


def test_a_clip_against_itself_is_perfect(short: Path, tmp_path: Path):
    lines = evaluate(EvaluateOptions(short, short, tmp_path / "out"))
    assert lines[-1] == f"report: {tmp_path / 'out' / 'report.html'}"
    found = scores_of(tmp_path / "out")
    assert len(found) > 20
    for name, value in found.items():
        if METRICS[name].perfect is not None:
            assert value == pytest.approx(METRICS[name].perfect, abs=1e-9), name
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert len(page.encode()) < 3_000_000 and "http://" not in page and 'src="//' not in page
    assert skips_of(tmp_path / "out")["identity.cosine"].startswith("no face embedding")


def test_a_shorter_result_is_compared_as_far_as_it_goes(
    short: Path, portrait: NDArray[np.uint8], tmp_path: Path
):
    write_talking_clip(tmp_path / "cut.mp4", portrait, seconds=0.4, size=(240, 240))
    evaluate(EvaluateOptions(short, tmp_path / "cut.mp4", tmp_path / "out"))
    assert "common beginning" in skips_of(tmp_path / "out")["frames 10 to 13"]
    assert scores_of(tmp_path / "out")["realism.ssim"] > 0.95


def test_what_two_frames_cannot_tell_is_said(portrait: NDArray[np.uint8], tmp_path: Path):
    write_talking_clip(tmp_path / "two.mp4", portrait, seconds=0.08, size=(240, 240))
    evaluate(EvaluateOptions(tmp_path / "two.mp4", tmp_path / "two.mp4", tmp_path / "out"))
    skips, scores = skips_of(tmp_path / "out"), scores_of(tmp_path / "out")
    assert "too few frames in a row" in skips["temporal.jitter_all"]
    of_sets = {metric.name for metric in frechet.METRICS}
    assert set(METRICS) - of_sets == (skips.keys() | scores.keys()) - of_sets
    assert not skips.keys() & scores.keys()


def test_another_size_skips_what_needs_pixels(
    short: Path, portrait: NDArray[np.uint8], tmp_path: Path
):
    write_talking_clip(tmp_path / "large.mp4", portrait, seconds=0.56, size=(320, 320))
    evaluate(EvaluateOptions(short, tmp_path / "large.mp4", tmp_path / "out"))
    skips, scores = skips_of(tmp_path / "out"), scores_of(tmp_path / "out")
    for name in ("background.psnr", "realism.ssim", "temporal.flicker", "pose.scale"):
        assert skips[name] == "the source is 240x240, the result 320x320"
        assert name not in scores
    assert scores["speech.aperture_r"] > 0.9


def test_another_rate_is_compared_frame_by_frame(
    short: Path, portrait: NDArray[np.uint8], tmp_path: Path
):
    seconds = 14 / 30
    write_talking_clip(tmp_path / "fast.mp4", portrait, seconds=seconds, size=(240, 240), rate=30)
    evaluate(EvaluateOptions(short, tmp_path / "fast.mp4", tmp_path / "out"))
    assert "at 30 fps" in skips_of(tmp_path / "out")["speech.audio_lag"]
    assert "speech.aperture_error" in scores_of(tmp_path / "out")


def test_another_rate_and_length_compares_no_frames(
    short: Path, portrait: NDArray[np.uint8], tmp_path: Path
):
    write_talking_clip(
        tmp_path / "ntsc.mp4", portrait, seconds=0.3, size=(240, 240), rate=Fraction(30000, 1001)
    )
    evaluate(EvaluateOptions(short, tmp_path / "ntsc.mp4", tmp_path / "out"))
    assert "not comparable" in skips_of(tmp_path / "out")["speech.aperture_r"]
    assert set(scores_of(tmp_path / "out")) == {"identity.rig_distance"}


@pytest.mark.parametrize("order", ["source", "result", "both"])
def test_no_face_is_said(short: Path, landscape: Path, tmp_path: Path, order: str):
    clips = {
        "source": (landscape, short),
        "result": (short, landscape),
        "both": (landscape, landscape),
    }[order]
    evaluate(EvaluateOptions(*clips, tmp_path / "out"))
    skips, scores = skips_of(tmp_path / "out"), scores_of(tmp_path / "out")
    where = "source and the result" if order == "both" else order
    assert skips["speech.aperture_r"] == f"no face in the {where}"
    assert "realism.psnr" in scores and "speech.aperture_r" not in scores
    assert ("background.psnr" in scores) == (order == "result")


def test_ground_truth_and_destination_are_used(short: Path, tmp_path: Path):
    evaluate(EvaluateOptions(short, short, tmp_path / "out", ground_truth=short, destination=short))
    found = scores_of(tmp_path / "out")
    for name in ("m_lmd", "f_lmd", "m_lvd", "f_lvd"):
        assert found[f"speech.{name}"] == pytest.approx(0, abs=1e-9)


def test_networks_with_weights_are_used(short: Path, portrait: NDArray[np.uint8], tmp_path: Path):
    """LPIPS and FID with made-up weights: they cannot judge, but they can tell same from other."""
    (tmp_path / "assets").mkdir()
    write_lpips(tmp_path / "assets")
    torch.jit.script(Means()).save(str(tmp_path / "assets" / "inception-2015-12-05.pt"))
    results = tmp_path / "results"
    for method in ("copy", "dark"):
        (results / method).mkdir(parents=True)
    shutil.copy(short, results / "copy" / "short_happy.mp4")
    write_talking_clip(
        results / "dark" / "short_happy.mp4",
        portrait,
        seconds=0.56,
        size=(240, 240),
        change=lambda image, _: image // 2,
    )
    evaluate(EvaluateOptions(short, results, tmp_path / "out"))
    data = json.loads((tmp_path / "out" / "scores.json").read_text(encoding="utf-8"))
    means = {
        method: {score["metric"]: score["value"] for score in scores}
        for method, scores in data["means"].items()
    }
    for name in ("realism.lpips", "realism.fid"):
        assert means["copy"][name] == pytest.approx(0, abs=1e-6) and means["dark"][name] > 0.01
    assert any("realism.fvd" in skip["metrics"] for skip in data["skips"])


def test_folders_are_paired_by_name_and_methods_are_folders(short: Path, tmp_path: Path):
    sources, results = tmp_path / "sources", tmp_path / "results"
    for folder in (sources, results / "ours", results / "theirs"):
        folder.mkdir(parents=True)
    for name in ("take.mp4", "take_2.mp4"):
        shutil.copy(short, sources / name)
        for method in ("ours", "theirs"):
            shutil.copy(short, results / method / f"{Path(name).stem}_happy.mp4")
    (results / "theirs" / "take_sad.mp4").write_bytes(b"no video")
    lines = evaluate(EvaluateOptions(sources, results, tmp_path / "out"))
    data = json.loads((tmp_path / "out" / "scores.json").read_text(encoding="utf-8"))
    assert set(data["means"]) == {"ours", "theirs"}
    assert {pair["target"] for pair in data["pairs"]} == {"happy"} and len(data["pairs"]) == 4
    assert any("not scored theirs/take_sad" in str(line) for line in lines)
    ssim = [s for s in data["means"]["ours"] if s["metric"] == "realism.ssim"]
    assert ssim[0]["value"] == 1 and ssim[0]["count"] == 2


def test_pairs_of_folders(tmp_path: Path):
    for name in ("src/a.mp4", "src/a_b.mp4", "res/x/a_b_sad.mp4", "res/a_happy.mov"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = find_pairs(tmp_path / "src", tmp_path / "res")
    assert [(p.name, p.source.name, p.method, p.emotion) for p in found] == [
        ("a_happy", "a.mp4", "", "happy"),
        ("x/a_b_sad", "a_b.mp4", "x", "sad"),
    ]


def test_the_emotion_comes_from_the_record_before_the_name(tmp_path: Path):
    source, result = tmp_path / "happy_birthday.mp4", tmp_path / "happy_birthday_sad.mp4"
    assert emotion_of(result, source) == "sad"
    assert emotion_of(tmp_path / "happy_birthday_edit.mp4", source) is None
    record = {"settings": {"emotion": ["angry:0.8"]}}
    (tmp_path / f"{result.name}.json").write_text(json.dumps(record), encoding="utf-8")
    assert emotion_of(result, source) == "angry"


def test_a_list_names_everything(tmp_path: Path):
    listed = tmp_path / "list.csv"
    listed.write_text(
        "source,result,method,emotion,ground_truth\na.mp4,b.mp4,x,sad,\nc.mp4,b.mp4,x,,t.mp4\n",
        encoding="utf-8",
    )
    found = find_pairs(listed, None)
    assert found[0] == Pair("x/b", tmp_path / "a.mp4", tmp_path / "b.mp4", "x", "sad")
    assert found[1].name == "x/b (line 3)" and found[1].ground_truth == tmp_path / "t.mp4"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source,output\na,b\n", "column 'output'"),
        ("source,emotion\na,b\n", "no columns source and result"),
        ("source,result\na,\n", "line 2"),
        ("source,result\n", "has no rows"),
        ("source,result,emotion\na,b,joy\n", "unknown emotion 'joy'"),
    ],
)
def test_a_bad_list_is_one_line(tmp_path: Path, text: str, message: str):
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        find_pairs(tmp_path / "list.csv", None)


def test_bad_input_is_one_line(
    short: Path, still_image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "empty").mkdir()
    cases = {
        ("nothing.mp4", str(short)): "does not exist",
        (str(short), str(tmp_path / "empty")): "there is no video",
        (str(short), str(still_image)): "is a picture",
        (str(short), str(short), "--actor", "3"): "shows 1 face, give 0 to 0",
        (str(short), str(short), "--judge", str(tmp_path / "j.yaml")): "j.yaml",
        (str(short), str(short), "--emotion", "joy"): "unknown emotion 'joy'",
        (str(short),): "nothing to compare with",
    }
    for words, message in cases.items():
        assert main(["evaluate", *words, "-o", str(tmp_path / "out")]) == 1
        error = capsys.readouterr().err.strip()
        assert error.startswith("ned: error: ") and message in error and "\n" not in error, error
        assert not (tmp_path / "out").exists(), words


def test_a_study_is_made_and_scored(short: Path, tmp_path: Path):
    results = tmp_path / "results"
    for method in ("ours", "theirs"):
        (results / method).mkdir(parents=True)
        shutil.copy(short, results / method / "short_happy.mp4")
    lines = evaluate(EvaluateOptions(short, results, study=tmp_path / "study"))
    page = tmp_path / "study" / "study" / "index.html"
    assert page.is_file() and str(page) in lines[0]
    assert "ours" not in page.read_text(encoding="utf-8").split("<body>")[1]
    assert (tmp_path / "study" / "study_key.json").is_file()


OWN = """
emotions:
  smug: {looks_like: contempt, variants: [{name: a, units: {corner_pull_left: 0.9}}]}
  odd: {variants: [{name: a, units: {corner_pull_left: 0.9}}]}
"""


def test_own_emotions_are_judged_by_what_they_look_like(short: Path, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(OWN, encoding="utf-8")
    (tmp_path / "judge.onnx").write_bytes(
        onnx_writer.linear(("n", 1, 32, 32), np.zeros((32 * 32, 2)), np.array([1.0, 3.0]))
    )
    description = (
        "file: judge.onnx\nsize: 32\ncolour: grey\nsoftmax: true\nlabels: [sad, contempt]\n"
    )
    (tmp_path / "judge.yaml").write_text(description, encoding="utf-8")
    for name in ("smug", "odd"):
        result = tmp_path / f"short_{name}.mp4"
        shutil.copy(short, result)
        evaluate(
            EvaluateOptions(
                short,
                result,
                tmp_path / name,
                emotions=tmp_path / "mine.yaml",
                judge=(tmp_path / "judge.yaml",),
            )
        )
        document = json.loads((tmp_path / name / "scores.json").read_text(encoding="utf-8"))
        assert document["pairs"][0]["target"] == name
    wanted = np.exp(3) / (np.exp(1) + np.exp(3))
    assert scores_of(tmp_path / "smug")["emotion.target"] == pytest.approx(wanted, abs=1e-6)
    reason = skips_of(tmp_path / "odd")["emotion.target"]
    assert reason == "judge knows no 'odd'; say in the file of --emotions what it looks_like"


def test_own_emotions_without_their_file_are_unknown(short: Path):
    with pytest.raises(InputError, match="unknown emotion 'smug'"):
        evaluate(EvaluateOptions(short, short, emotion="smug"))
