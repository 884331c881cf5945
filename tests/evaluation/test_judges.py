"""Classifiers and embeddings: descriptions, crops, networks, and the scores made from them."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import onnx_writer
import pytest
from places import ROOT

from ned.core.errors import AssetError, InputError
from ned.evaluation import embedding, emotion
from ned.evaluation.classifier import Affect, find_classifiers, load_classifier
from ned.evaluation.embedding import TEMPLATE, five_points, identity_scores, load_embedding
from ned.evaluation.emotion import affect_scores, agreement_scores, target_scores
from ned.evaluation.metric import Metric, Score
from ned.evaluation.result import Labels

JUDGE = os.environ.get("NED_JUDGE")
LABELS = ("happy", "sad", "neutral")


@pytest.fixture(autouse=True)
def no_assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NED_ASSETS", str(tmp_path / "assets"))
    monkeypatch.delenv("NED_JUDGE", raising=False)


def face(left: float = 20, top: float = 30, width: float = 40, height: float = 60) -> np.ndarray:
    """(478, 2) points that fill a box."""
    points = np.random.default_rng(0).random((478, 2))
    points[:2] = [[0, 0], [1, 1]]
    return points * [width, height] + [left, top]


def write_classifier(
    folder: Path, text: str = "", columns: int = 3, batch: int | str = "n"
) -> Path:
    """A grey 4-pixel classifier: column k is softmax-ready 5 * mean * k; with its description."""
    weight = np.tile(np.arange(columns) * 5 / 16, (16, 1))
    shape = (batch, 1, 4, 4)
    network = onnx_writer.linear(shape, weight, np.zeros(columns), ("scores", "again"))
    (folder / "tiny.onnx").write_bytes(network)
    description = folder / "tiny.yaml"
    known = "file: tiny.onnx\nsize: 4\ncolour: grey\nlabels: [happy, sad, neutral]\n"
    description.write_text(known + (text or "softmax: true\n"))
    return description


@pytest.mark.parametrize("batch", ["n", 1])
def test_scores_are_the_softmax_of_the_network(tmp_path: Path, batch: int | str) -> None:
    classifier = load_classifier(write_classifier(tmp_path, batch=batch), threads=1)
    assert (classifier.name, classifier.labels) == ("tiny", LABELS)
    levels = np.linspace(0, 1, 70).astype(np.float32)
    affect = classifier.scores(np.broadcast_to(levels[:, None, None, None], (70, 1, 4, 4)))
    powers = np.exp(levels[:, None] * [0, 5, 10])
    np.testing.assert_allclose(affect.probabilities, powers / powers.sum(1)[:, None], atol=1e-5)
    assert affect.valence is None and affect.arousal is None and not classifier.has_affect
    assert classifier.scores(np.zeros((0, 1, 4, 4), np.float32)).probabilities.shape == (0, 3)


def test_valence_and_arousal_come_from_the_named_columns(tmp_path: Path) -> None:
    text = "softmax: true\nvalence: {column: 4}\narousal: {output: again, column: 3}\n"
    classifier = load_classifier(write_classifier(tmp_path, text, columns=5))
    affect = classifier.scores(np.full((2, 1, 4, 4), 0.1, np.float32))
    assert affect.probabilities.shape == (2, 3)
    assert affect.valence is not None and affect.arousal is not None
    np.testing.assert_allclose(affect.valence, 2.0, atol=1e-5)
    np.testing.assert_allclose(affect.arousal, 1.5, atol=1e-5)


def test_crop_is_the_square_that_the_description_asks_for(tmp_path: Path) -> None:
    text = "softmax: true\nraised: 0.1\nhalf_side: 0.5\nmean: 0.5\nstd: 0.5\n"
    classifier = load_classifier(write_classifier(tmp_path, text))
    image = np.zeros((120, 100, 3), np.uint8)
    image[24:84, 10:70] = 255  # box 20..60 x 30..90: side 60 around (40, 60 - 6)
    np.testing.assert_array_equal(classifier.crop(image, face()), np.ones((1, 4, 4), np.float32))
    image[:24] = image[84:] = 255
    image[:, :10] = image[:, 70:] = 255
    image[24:84, 10:70] = 0
    np.testing.assert_array_equal(classifier.crop(image, face()), -np.ones((1, 4, 4)))


def test_crop_repeats_the_border(tmp_path: Path) -> None:
    classifier = load_classifier(write_classifier(tmp_path))
    image = np.full((40, 40, 3), 100, np.uint8)
    for left, top in ((-30, -20), (30, 30), (-500, 700)):
        crop = classifier.crop(image, face(left, top))
        np.testing.assert_allclose(crop, 100 / 255, rtol=1e-6)
    points = face()
    points[5] = np.nan
    with pytest.raises(ValueError, match="finite"):
        classifier.crop(image, points)


@pytest.mark.parametrize(("colour", "layout"), [("rgb", "nchw"), ("bgr", "nhwc")])
def test_colour_order_layout_and_normalisation(tmp_path: Path, colour: str, layout: str) -> None:
    shape = ("n", 3, 4, 4) if layout == "nchw" else ("n", 4, 4, 3)
    network = onnx_writer.linear(shape, np.ones((48, 2)), np.zeros(2))
    (tmp_path / "net.onnx").write_bytes(network)
    (tmp_path / "net.yaml").write_text(
        f"file: net.onnx\nsize: 4\ncolour: {colour}\nlayout: {layout}\nlabels: [happy, sad]\n"
        "divisor: 1\nmean: [1, 2, 3]\nstd: [2, 4, 8]\nsoftmax: true\n"
    )
    image = np.empty((200, 200, 3), np.uint8)
    image[:] = (10, 20, 30)
    crop = load_classifier(tmp_path / "net.yaml").crop(image, face())
    channels = crop if layout == "nchw" else crop.transpose(2, 0, 1)
    levels = (10, 20, 30) if colour == "rgb" else (30, 20, 10)
    wanted = (np.array(levels) - [1, 2, 3]) / [2, 4, 8]
    np.testing.assert_allclose(channels, np.broadcast_to(wanted[:, None, None], (3, 4, 4)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("softmax: perhaps\n", "softmax is 'perhaps'; give true or false"),
        ("half_side: 0\n", "half_side is 0; give a number above 0"),
        ("raised: .nan\n", "raised is nan"),
        ("labels: [happy, glad]\n", "labels is .*once at most"),
        ("labels: happy\n", "labels is 'happy'"),
        ("size: 0\n", "size is 0"),
        ("colour: pink\n", "colour is 'pink'; give rgb or bgr or grey"),
        ("layout: chw\n", "give nchw or nhwc"),
        ("std: 0\n", "std is 0"),
        ("mean: [1, 2, 3]\n", r"mean is \[1, 2, 3\]; give one number or 1"),
        ("divisor: -1\n", "divisor is -1"),
        ("valence: 4\n", "valence is 4"),
        ("arousal: {row: 1}\n", "arousal is"),
        ("file: 7\n", "file is 7"),
        ("crop: wide\n", "unknown entries crop; known are"),
        ("size: [\n", "is no YAML"),
    ],
)
def test_unusable_descriptions(tmp_path: Path, text: str, words: str) -> None:
    path = write_classifier(tmp_path, text)
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines())
    path.write_text("".join(f"{key}:{value}\n" for key, value in lines.items()))
    with pytest.raises(InputError, match=words) as caught:
        load_classifier(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("softmax: false\n", "no probabilities; write `softmax: true`"),
        ("softmax: true\nvalence: {column: 3}\n", "gives 3 scores.*speaks of 4"),
        ("softmax: true\nscores: logits\n", "has the outputs scores, again, not logits"),
        ("softmax: true\ninput: picture\n", "has the inputs image; name one"),
    ],
)
def test_descriptions_that_do_not_fit_the_network(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(AssetError, match=words):
        load_classifier(write_classifier(tmp_path, text)).scores(np.ones((1, 1, 4, 4), np.float32))


def test_network_of_another_size(tmp_path: Path) -> None:
    path = write_classifier(tmp_path)
    path.write_text(path.read_text().replace("size: 4", "size: 8"))
    with pytest.raises(AssetError, match="does not take pictures of shape"):
        load_classifier(path).scores(np.ones((1, 1, 8, 8), np.float32))


def test_classifiers_are_found_by_name_file_and_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    description = write_classifier(tmp_path)
    assert load_classifier(tmp_path / "tiny.onnx").name == "tiny"
    assert [each.name for each in find_classifiers(tmp_path)] == ["tiny"]
    description.unlink()
    with pytest.raises(InputError, match="has no description"):
        load_classifier(tmp_path / "tiny.onnx")
    network = onnx_writer.linear(("n", 1, 64, 64), np.zeros((4096, 7)), np.full(7, 1 / 7))
    (tmp_path / "tiny.onnx").rename(tmp_path / "other.txt")
    with pytest.raises(InputError, match="holds no classifiers"):
        find_classifiers(tmp_path)
    (tmp_path / "fer_mini_b.onnx").write_bytes(network)
    monkeypatch.setenv("NED_JUDGE", str(tmp_path))
    with pytest.raises(AssetError, match=r"fer_mini_a.onnx is missing.*NED_JUDGE"):
        load_classifier("fer_mini")
    with pytest.raises(AssetError, match="has the inputs image"):
        load_classifier("fer_mini_b")
    with pytest.raises(InputError, match=r"nothing is known of 'grin'.*hsemotion"):
        load_classifier("grin")
    with pytest.raises(InputError, match="does not exist"):
        load_classifier(tmp_path / "none.yaml")
    (tmp_path / "fer_mini_a.onnx").write_bytes(b"no network")
    with pytest.raises(AssetError, match="is not a network"):
        load_classifier("fer_mini")


@pytest.mark.parametrize("load", [lambda: load_classifier("hsemotion"), load_embedding])
def test_missing_weights_say_how_to_get_them(load) -> None:
    with pytest.raises(AssetError, match=r"is missing.*Apache.*ned assets fetch") as caught:
        load()
    assert "\n" not in str(caught.value)


def test_described_network_of_the_assets(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    weight = np.zeros((3 * 224 * 224, 10), np.float32)
    bias = np.array([0, 0, 0, 0, 9, 0, 0, 0, 0.5, -0.25])
    network = onnx_writer.linear(("n", 3, 224, 224), weight, bias)
    (tmp_path / "assets" / "enet_b0_8_va_mtl.onnx").write_bytes(network)
    classifier = load_classifier("hsemotion")
    crop = classifier.crop(np.zeros((300, 300, 3), np.uint8), face(50, 50, 200, 200))
    np.testing.assert_allclose(
        crop[:, 0, 0], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], rtol=1e-6
    )
    affect = classifier.scores(crop[None])
    assert classifier.labels[affect.probabilities[0].argmax()] == "happy"
    assert affect.valence is not None and affect.arousal is not None
    assert (affect.valence[0], affect.arousal[0]) == (0.5, -0.25)


def judge_folder() -> Path:
    root = ROOT
    folder = Path(JUDGE or root.parent / "shared" / "judge")
    if not (folder / "fer_mini_a.onnx").is_file():
        pytest.skip(f"needs classifiers in {folder}; set NED_JUDGE to their folder")
    return folder


def test_two_real_judges_agree_on_their_labels() -> None:
    judges = find_classifiers(judge_folder(), threads=1)
    assert [judge.name for judge in judges] == ["fer_mini_a", "fer_mini_b"]
    from skimage import data

    portrait = np.asarray(data.astronaut())
    points = face(178, 60, 90, 120)  # the box of the smiling astronaut's face
    for judge in judges:
        scores = judge.scores(judge.crop(portrait, points)[None]).probabilities[0]
        assert judge.labels[scores.argmax()] == "happy"
        assert scores.sum() == pytest.approx(1, abs=1e-5)


def table(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32)


def value(scores: list[Score], name: str, judge: str) -> float:
    (found,) = [s.value for s in scores if (s.metric, s.judge) == (name, judge)]
    return found


def test_target_probability_change_and_accuracy_per_judge_and_mean() -> None:
    source = table((0.2, 0.5, 0.3), (0.4, 0.5, 0.1))
    first = Labels("a", LABELS, source, table((0.8, 0.1, 0.1), (0.4, 0.5, 0.1)))
    second = Labels("b", LABELS, source, table((0.6, 0.3, 0.1), (0.6, 0.3, 0.1)))
    scores, skips = target_scores([first, second], "happy")
    assert skips == []
    assert value(scores, "emotion.target", "a") == pytest.approx(0.6)
    assert value(scores, "emotion.change", "a") == pytest.approx(0.3)
    assert value(scores, "emotion.accuracy", "a") == 0.5
    assert value(scores, "emotion.change", "mean") == pytest.approx(0.3)
    assert value(scores, "emotion.accuracy", "mean") == 0.75
    unpaired, _ = target_scores([first, second], "happy", paired=False)
    assert value(unpaired, "emotion.change", "mean") == pytest.approx(0.3)
    np.testing.assert_array_equal(first.confusion, [[0, 0, 0], [1, 1, 0], [0, 0, 0]])


def test_identical_faces_change_nothing() -> None:
    same = np.random.default_rng(1).dirichlet(np.ones(3), 40).astype(np.float32)
    labels = [Labels("a", LABELS, same, same), Labels("b", LABELS, same, same)]
    scores, _ = target_scores(labels, "sad", block=2)
    changes = [s for s in scores if s.metric == "emotion.change"]
    assert [(s.value, s.low, s.high, s.count) for s in changes] == [(0, 0, 0, 40)] * 3
    scores, _ = agreement_scores(labels)
    assert {(s.judge, s.value) for s in scores} == {("a", 1), ("b", 1), ("mean", 1)}
    affect = Affect(same, same[:, 0], same[:, 1])
    scores, _ = affect_scores("a", affect, affect)
    assert [s.value for s in scores] == [0, 0]


def test_interval_covers_what_the_frames_vary() -> None:
    generator = np.random.default_rng(2)
    happy = np.clip(generator.normal(0.6, 0.1, 400), 0, 1).astype(np.float32)
    result = np.stack([happy, 1 - happy, 0 * happy], 1)
    scores, _ = target_scores([Labels("a", LABELS, 0 * result, result)], "happy")
    (score,) = [s for s in scores if s.metric == "emotion.target"]
    assert score.low < score.value < score.high
    assert 0.005 < score.high - score.low < 0.05


def test_what_cannot_be_said_is_skipped_with_a_reason() -> None:
    one = table((0.2, 0.5, 0.3))
    assert target_scores([], None)[1][0].reason == "no target emotion was given"
    scores, skips = target_scores([Labels("a", LABELS, one, one)], "contempt")
    assert (scores, skips[0].reason) == ([], "a knows no 'contempt'")
    unseen = Labels("a", LABELS, one * np.nan, one * np.nan)
    scores, skips = target_scores([unseen], "happy")
    assert (scores, skips[0].reason) == ([], "the classifiers saw no face")
    assert agreement_scores([unseen])[1][0].metrics == ("emotion.agreement",)
    _, skips = affect_scores("a", Affect(one, None, None), Affect(one, None, None))
    assert [s.reason for s in skips] == ["a gives no valence", "a gives no arousal"]


def affect(valence: float, arousal: float) -> Affect:
    ones = np.ones(4, np.float32)
    return Affect(np.ones((4, 3), np.float32) / 3, valence * ones, arousal * ones)


def test_normalised_change_toward_a_destination() -> None:
    scores, skips = affect_scores("a", affect(0.1, 0.2), affect(0.3, 0.5), affect(0.5, 0.21))
    assert value(scores, "emotion.valence_change", "a") == pytest.approx(0.2)
    assert value(scores, "emotion.valence_delta", "a") == pytest.approx(0.5)
    assert value(scores, "emotion.arousal_change", "a") == pytest.approx(0.3)
    assert [(s.metrics, "nearly the same arousal" in s.reason) for s in skips] == [
        (("emotion.arousal_delta",), True)
    ]
    scores, _ = affect_scores("a", affect(0.1, 0), affect(0.5, 1), affect(0.5, 1), paired=False)
    assert value(scores, "emotion.valence_delta", "a") == pytest.approx(1)
    _, skips = affect_scores("a", affect(0, 0), affect(1, 1))
    assert {s.reason for s in skips} == {"no destination clip was given"}


def write_embedding(folder: Path, extra: str = "same_person: 0.5\n") -> Path:
    """An embedding that gives the mean red and green level of an aligned 8-pixel face."""
    weight = np.zeros((3, 64, 2), np.float32)
    weight[0, :, 0] = weight[1, :, 1] = 1 / 64
    network = onnx_writer.linear(("n", 3, 8, 8), weight.reshape(192, 2), np.zeros(2))
    (folder / "face.onnx").write_bytes(network)
    path = folder / "face.yaml"
    path.write_text(f"file: face.onnx\nsize: 8\n{extra}")
    return path


def mesh_at(places: np.ndarray) -> np.ndarray:
    """(478, 2) whose five points are given."""
    mesh = np.zeros((478, 2))
    for group, place in zip(embedding._POINTS, places, strict=True):
        mesh[list(group)] = place + (np.array([[-3, 0], [3, 0]]) if len(group) == 2 else 0)
    return mesh


def test_alignment_puts_the_five_points_on_the_template(tmp_path: Path) -> None:
    angle, scale = math.radians(25), 1.7
    turn = scale * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    places = TEMPLATE @ turn.T + [180, 60]
    points = mesh_at(places)
    np.testing.assert_allclose(five_points(points), places)
    image = np.zeros((400, 400, 3), np.uint8)
    y, x = np.mgrid[:400, :400]
    eye = np.hypot(x - places[0, 0], y - places[0, 1]) < 12
    image[eye] = 255
    path = write_embedding(tmp_path)
    path.write_text(path.read_text().replace("size: 8", "size: 112"))
    crop = load_embedding(path).crop(image, points)
    rows, columns = np.nonzero(crop[0] > 0.5)
    np.testing.assert_allclose([columns.mean(), rows.mean()], TEMPLATE[0], atol=0.3)


def test_embeddings_have_length_one_and_identity_scores_one(tmp_path: Path) -> None:
    network = load_embedding(write_embedding(tmp_path), threads=1)
    crops = np.random.default_rng(3).random((5, 3, 8, 8)).astype(np.float32)
    vectors = network.vectors(crops)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    scores, skips = identity_scores(network, vectors, vectors)
    assert skips == []
    assert [s.metric for s in scores] == ["identity.cosine", "identity.same"]
    assert [s.value for s in scores] == pytest.approx([1, 1])
    other = vectors[:, ::-1] * [1, -1]  # at right angles
    scores, _ = identity_scores(network, vectors, other.astype(np.float32))
    assert [s.value for s in scores] == pytest.approx([0, 0], abs=1e-6)
    scores, _ = identity_scores(network, vectors, vectors[:2], paired=False)
    assert scores[0].value > 0.9 and scores[0].count == 2


def test_what_cannot_be_recognised_is_skipped_or_refused(tmp_path: Path) -> None:
    network = load_embedding(write_embedding(tmp_path, ""))
    one = np.array([[1, 0]], np.float32)
    scores, skips = identity_scores(network, one, one)
    assert [s.metric for s in scores] == ["identity.cosine"]
    assert skips[0].metrics == ("identity.same",)
    assert identity_scores(network, one[:0], one)[1][0].reason == "the face was not seen in both"
    with pytest.raises(AssetError, match="zero or not finite"):
        network.vectors(np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(ValueError, match="no usable points"):
        network.crop(np.zeros((9, 9, 3), np.uint8), np.zeros((478, 2)))


@pytest.mark.parametrize("metric", [*emotion.METRICS, *embedding.METRICS], ids=lambda m: m.name)
def test_metrics_are_documented(metric: Metric) -> None:
    assert metric.group in ("emotion", "identity")
    assert metric.definition.endswith(".") and metric.source
    assert metric.range[0] < metric.range[1]
    assert metric.perfect is None or metric.range[0] <= metric.perfect <= metric.range[1]
