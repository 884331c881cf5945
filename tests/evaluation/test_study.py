"""The rating page, its key, and the counting of what people answered."""

from __future__ import annotations

import csv
import html
import itertools
import json
import math
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_talking_clip
from numpy.typing import NDArray

from ned.core.errors import InputError, OutputError
from ned.evaluation.agreement import krippendorff_alpha, wilson
from ned.evaluation.questions import LIPS, PREFERENCE, QUESTIONS, RATINGS, REALISM, Question
from ned.evaluation.study import make_study
from ned.evaluation.study_report import write_study_scores
from ned.evaluation.study_scores import StudyScores, score_study

TAKES = ("happy take", "sad take", "angry take")
TARGETS = {f"{emotion} take": emotion for emotion in ("happy", "sad", "angry")}
METHODS = ("good", "poor")


@pytest.fixture(scope="module")
def video(portrait: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "short.mp4"
    write_talking_clip(path, portrait, 0.4, (96, 96))
    return path


@pytest.fixture(scope="module")
def videos(video: Path) -> dict[str, dict[str, Path]]:
    """{method: {take: file}}; every file has bytes of its own."""
    clips: dict[str, dict[str, Path]] = {}
    for method in (*METHODS, "original"):
        for take in TAKES:
            path = video.with_name(f"{method} {take}.mp4")
            free = f"\0\0\0\x40free{method} {take}".ljust(0x40, "\0").encode()
            path.write_bytes(video.read_bytes() + free)
            clips.setdefault(method, {})[take] = path
    return clips


@pytest.fixture
def study(tmp_path: Path, videos: dict[str, dict[str, Path]]) -> Path:
    """Folder of a study of two methods and the source."""
    edited = {method: videos[method] for method in METHODS}
    page = make_study(tmp_path, edited, videos["original"], seed=3, targets=TARGETS)
    assert page == tmp_path / "study" / "index.html"
    return tmp_path


def key_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "study_key.json").read_text())


Choice = Callable[[str, dict[str, Any], Any], Any]


def answer(folder: Path, rater: str, choose: Choice, steps: int | None = None) -> Path:
    """Write the file of a rater; `choose` gives the answer to a question about a stimulus.

    For a comparison it gets both stimuli, {method: stimulus}, and gives the preferred method.
    """
    key = key_of(folder)
    answers = []
    order = random.Random(rater)
    for trial in key["trials"][:steps]:
        clips = order.sample(trial["clips"], len(trial["clips"]))
        stimuli = [key["stimuli"][clip] for clip in clips]
        values = {}
        for question in key["questions"]:
            if (question["kind"] == "preference") != (len(clips) == 2):
                continue
            if len(clips) == 2:
                methods = dict(zip([s["method"] for s in stimuli], clips, strict=True))
                values[question["name"]] = methods[choose(rater, question, methods)]
            else:
                values[question["name"]] = choose(rater, question, stimuli[0])
        answers.append(
            {
                "trial": trial["id"],
                "clips": clips,
                "values": values,
                "failed": False,
                "seconds": 9.0,
            }
        )
    path = folder / f"{re.sub(r'[^a-z]', '', rater)}.json"
    document = {"format": "ned-study-answers-1", "study": key["id"], "rater": rater}
    path.write_text(json.dumps({**document, "answers": answers}))
    return path


def fair(rater: str, question: dict[str, Any], seen: Any) -> Any:
    """Thinks well of the good method and mixes up the emotions of the poor one."""
    if question["kind"] == "preference":
        return "poor" if rater == "contrary" else "good"
    method = seen["method"]
    if question["kind"] == "choice":
        return seen["target"] if method == "good" else "neutral"
    return {"good": 4, "poor": 2, "source": 5}[method] - (rater == "strict")


def row(scores: StudyScores, method: str, question: str) -> Any:
    (found,) = [r for r in scores.rows if (r.method, r.question) == (method, question)]
    return found


# The pack


def test_the_pack_does_not_tell_who_made_what(study: Path, videos: dict[str, Any]) -> None:
    assert sorted(p.name for p in study.iterdir()) == ["study", "study_key.json"]
    page = (study / "study" / "index.html").read_text("utf-8")
    names = [path.name for path in (study / "study").rglob("*")]
    for secret in (*METHODS, "original", *TAKES, '"target"', str(study)):
        assert secret not in page
        assert not any(secret in name for name in names)
    key = key_of(study)
    assert len(key["stimuli"]) == 9
    for stimulus in key["stimuli"].values():
        method = "original" if stimulus["method"] == "source" else stimulus["method"]
        original = videos[method][stimulus["clip"]]
        assert (study / "study" / stimulus["file"]).read_bytes() == original.read_bytes()
        assert stimulus["target"] == (None if method == "original" else TARGETS[stimulus["clip"]])
        assert stimulus["seconds"] == pytest.approx(0.4, abs=0.05)


def test_each_take_is_compared_once_and_the_source_never(study: Path) -> None:
    key = key_of(study)
    pairs = [trial["clips"] for trial in key["trials"] if len(trial["clips"]) == 2]
    assert len(pairs) == 3
    for one, other in pairs:
        one, other = key["stimuli"][one], key["stimuli"][other]
        assert one["clip"] == other["clip"]
        assert {one["method"], other["method"]} == set(METHODS)


def test_the_seed_decides_the_order(tmp_path: Path, videos: dict[str, Any]) -> None:
    def made(name: str, seed: int) -> list[str]:
        make_study(tmp_path / name, videos, seed=seed)
        stimuli = key_of(tmp_path / name)["stimuli"].values()
        return [f"{s['method']} {s['clip']}" for s in stimuli]

    assert made("a", 1) == made("b", 1)
    assert made("a2", 1) != made("c", 2)


def test_linked_clips_are_the_same_files(tmp_path: Path, videos: dict[str, Any]) -> None:
    make_study(tmp_path, videos, link=True)
    for stimulus in key_of(tmp_path)["stimuli"].values():
        linked = tmp_path / "study" / stimulus["file"]
        assert not linked.is_symlink()
        assert linked.samefile(videos[stimulus["method"]][stimulus["clip"]])


def test_a_page_of_hostile_words_is_still_a_page(tmp_path: Path, videos: dict[str, Any]) -> None:
    words = "</script><script>alert(1)</script><!--"
    asked = [
        Question("a", words, "scale", lowest=words),
        Question("b", words, "choice", (words, "x")),
    ]
    page = make_study(tmp_path, videos, questions=asked, title=words, introduction=words)
    text = page.read_text("utf-8")
    assert text.count("</script>") == 2
    assert "alert(1)</script>" not in text
    data = re.findall(r'<script type="application/json" id="study">(.*?)</script>', text, re.S)[0]
    assert json.loads(data)["introduction"] == words


def test_what_cannot_be_a_study(tmp_path: Path, videos: dict[str, Any], still_image: Path) -> None:
    def refused(words: str, clips: Any, **more: Any) -> None:
        with pytest.raises(InputError, match=words) as caught:
            make_study(tmp_path / "new", clips, **more)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "new").exists()

    refused("without clips", {})
    refused("without questions", videos, questions=())
    refused("does not exist", {"a": {"x": tmp_path / "none.mp4"}})
    refused("not for browsers", {"a": {"x": still_image}})
    refused("called 'source'", {"source": videos["good"]})
    refused("nothing to compare", {"a": videos["good"]}, questions=[PREFERENCE])
    refused("no such clip", videos, targets={"x": "happy"})
    refused("same name", videos, questions=[REALISM, REALISM])
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no film")
    refused("cannot|can be read", {"a": {"x": broken}})
    with pytest.raises(InputError, match="2 to 11"):
        Question("a", "b", "scale", steps=1)
    with pytest.raises(InputError, match="choices"):
        Question("a", "b", "choice", ("x", "x"))
    with pytest.raises(InputError, match="letters"):
        Question("a b", "b", "preference")


def test_an_emotion_that_is_no_choice_is_not_scored(
    tmp_path: Path, videos: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    edited = {method: videos[method] for method in METHODS}
    make_study(tmp_path, edited, targets={TAKES[0]: "bliss", TAKES[1]: "sad"})
    assert "'bliss'" in caplog.text

    def bored(rater: str, question: dict[str, Any], seen: Any) -> Any:
        return "sad" if question["kind"] == "choice" else fair(rater, question, seen)

    scores = score_study(tmp_path / "study_key.json", [answer(tmp_path, "a", bored)])
    assert row(scores, "good", "emotion").value == 1
    assert row(scores, "good", "emotion").count == 1


def test_a_study_is_never_written_over(study: Path, videos: dict[str, Any]) -> None:
    before = (study / "study_key.json").read_bytes()
    with pytest.raises(OutputError, match="answers may belong to it"):
        make_study(study, videos)
    assert (study / "study_key.json").read_bytes() == before
    file = study / "file"
    file.write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        make_study(file / "under", videos)


# Scores


def test_scores_say_what_raters_said(study: Path) -> None:
    files = [answer(study, name, fair) for name in ("a", "b", "strict", "contrary")]
    scores = score_study(study / "study_key.json", files)
    good = row(scores, "good", "realism")
    assert good.value == pytest.approx(3.75)
    assert 3 <= good.low < 3.75 < good.high <= 4
    assert (good.count, good.raters) == (12, 4)
    assert row(scores, "source", "lips").value == pytest.approx(4.75)
    assert row(scores, "good", "emotion").value == 1
    assert row(scores, "poor", "emotion").value == 0
    assert not [r for r in scores.rows if (r.method, r.question) == ("source", "emotion")]
    poor = next(table for table in scores.recognition if table.method == "poor")
    assert poor.targets == ("happy", "sad", "angry")
    assert poor.counts[:, poor.choices.index("neutral")].tolist() == [4, 4, 4]
    won = row(scores, "good", "preference")
    assert won.value == 9 / 12
    assert (won.low, won.high) == wilson(9, 12)
    assert row(scores, "poor", "preference").value == 3 / 12
    assert scores.agreement["emotion"] == 1
    assert 0.5 < scores.agreement["realism"] < 1
    assert scores.agreement["preference"] < 0.1
    assert scores.notes == []


def test_the_order_of_files_does_not_matter(study: Path) -> None:
    files = [answer(study, name, fair) for name in ("a", "strict", "contrary")]
    key = study / "study_key.json"
    assert score_study(key, files).rows == score_study(key, files[::-1]).rows


def test_careless_raters_are_noted(study: Path) -> None:
    def noise(rater: str, question: dict[str, Any], seen: Any) -> Any:
        return 3 if question["kind"] == "scale" else fair(rater, question, seen)

    def upside_down(rater: str, question: dict[str, Any], seen: Any) -> Any:
        return (
            6 - fair(rater, question, seen)
            if question["kind"] == "scale"
            else fair(rater, question, seen)
        )

    files = [answer(study, name, fair) for name in ("a", "b", "c")]
    files.append(answer(study, "lazy", noise))
    files.append(answer(study, "mirror", upside_down))
    hasty = answer(study, "hasty", fair)
    document = json.loads(hasty.read_text())
    for given in document["answers"]:
        given["seconds"] = 0.1
    hasty.write_text(json.dumps(document))
    notes = score_study(study / "study_key.json", [*files, hasty]).notes
    assert "rater 'lazy' answered 3 to 'realism' 9 of 9 times; perhaps careless" in notes
    assert "rater 'hasty' answered 12 of 12 steps before the clips could end; too fast" in notes
    assert "rater 'mirror' rated 'realism' against all others" in notes
    assert not [note for note in notes if note.startswith(("rater 'a'", "rater 'b'"))]


def test_unfinished_answers_count_as_far_as_they_go(study: Path) -> None:
    files = [answer(study, "a", fair), answer(study, "b", fair, steps=4)]
    scores = score_study(study / "study_key.json", files)
    assert scores.notes == ["rater 'b' answered 4 of 12 steps; these count"]
    assert sum(r.count for r in scores.rows if r.question == "realism") == 9 + 4


def test_one_rater_gives_no_interval(study: Path) -> None:
    scores = score_study(study / "study_key.json", [answer(study, "a", fair)])
    assert math.isnan(row(scores, "good", "realism").low)
    assert math.isnan(scores.agreement["realism"])


def change(document: dict[str, Any], *path: Any, to: Any) -> None:
    for name in path[:-1]:
        document = document[name]
    document[path[-1]] = to


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("format",), "other", "does not hold answers"),
        (("study",), "0123", "same study"),
        (("rater",), 5, "does not hold answers"),
        (("answers",), {}, "does not hold answers"),
        (("answers", 0), 7, "not one"),
        (("answers", 0, "trial"), "c9999", "no step 'c9999'"),
        (("answers", 0, "trial"), [], "no step"),
        (("answers", 1, "trial"), "c0001", "c0001"),
        (("answers", 0, "values", "realism"), 6, "answers 6 to 'realism'"),
        (("answers", 0, "values", "realism"), True, "answers True"),
        (("answers", 0, "values", "emotion"), ["happy"], "to 'emotion'"),
        (("answers", 0, "values"), {"realism": 3}, "lacks an answer to 'emotion'"),
        (("answers", 0, "values", "preference"), "c0001", "was not asked"),
        (("answers", 0, "seconds"), math.nan, "nan seconds"),
        (("answers", 0, "seconds"), None, "None seconds"),
        (("answers", 0, "failed"), 1, "could be played"),
        (("answers", 0, "clips"), ["c0002"], "did not show"),
        (("answers", -1, "values", "preference"), "c9999", "to 'preference'"),
    ],
)
def test_answers_that_cannot_be(study: Path, path: tuple[Any, ...], value: Any, words: str) -> None:
    file = answer(study, "a", fair)
    document = json.loads(file.read_text())
    change(document, *path, to=value)
    file.write_text(json.dumps(document))
    with pytest.raises(InputError, match=words) as caught:
        score_study(study / "study_key.json", [file])
    assert "a.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_something_else(study: Path, tmp_path: Path) -> None:
    key, file = study / "study_key.json", answer(study, "a", fair)
    with pytest.raises(InputError, match="no answers to score"):
        score_study(key, [])
    with pytest.raises(InputError, match="second file of rater 'a'"):
        score_study(key, [file, file])
    with pytest.raises(InputError, match="not the key"):
        score_study(file, [file])
    with pytest.raises(InputError, match="does not hold answers"):
        score_study(key, [key])
    with pytest.raises(InputError, match="hold no answer"):
        score_study(key, [answer(study, "b", fair, steps=0)])
    for content in (b"", b"\xff\xfe\x00", b"[" * 100_000, b"3"):
        other = tmp_path / "other.json"
        other.write_bytes(content)
        with pytest.raises(InputError, match="answers to a study"):
            score_study(key, [other])
    with pytest.raises(InputError, match="cannot be read"):
        score_study(key, [tmp_path / "none.json"])
    changed = key_of(study)
    changed["stimuli"]["c0001"]["method"] = "best"
    key.write_text(json.dumps(changed))
    with pytest.raises(InputError, match="was changed"):
        score_study(key, [file])


def test_scores_as_files(study: Path, tmp_path: Path) -> None:
    files = [answer(study, name, fair) for name in ("<b>a</b>", "strict")]
    scores = score_study(study / "study_key.json", files)
    write_study_scores(tmp_path, scores, {"ned": "0.1.0"})
    page = (tmp_path / "study.html").read_text("utf-8")
    assert "&lt;b&gt;a&lt;/b&gt;" in page
    assert "<b>a</b>" not in page
    for question in QUESTIONS:
        assert html.escape(question.words) in page
    with (tmp_path / "study.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(scores.rows)
    assert float(table[0]["value"]) == scores.rows[0].value
    document = json.loads((tmp_path / "study.json").read_text())
    assert document["recognition"][0]["counts"]
    assert document["agreement"]["emotion"] == 1
    with pytest.raises(OutputError, match="cannot be written"):
        write_study_scores(tmp_path / "none", scores)


# Agreement


def test_alpha_agrees_with_the_published_example() -> None:
    # Krippendorff (2011), section D: four observers, twelve units, 0 where missing.
    table = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
            [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
        ],
        float,
    )
    table[table == 0] = math.nan
    assert krippendorff_alpha(table, "nominal") == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(table, "ordinal") == pytest.approx(0.815, abs=5e-4)


def test_alpha_of_chance_is_zero_and_of_nothing_unknown() -> None:
    table = np.random.default_rng(0).integers(1, 6, (4, 3000)).astype(float)
    assert krippendorff_alpha(table, "ordinal") == pytest.approx(0, abs=0.03)
    assert krippendorff_alpha(np.tile([1.0, 2, 3], (3, 1)), "ordinal") == 1
    assert math.isnan(krippendorff_alpha(table[:1], "nominal"))
    assert math.isnan(krippendorff_alpha(np.ones((3, 4)), "nominal"))
    assert math.isnan(krippendorff_alpha(np.full((2, 3), math.nan), "nominal"))


def test_wilson_agrees_with_its_formula_and_stays_inside() -> None:
    low, high = wilson(9, 12)
    assert (low, high) == pytest.approx((0.4677, 0.9111), abs=1e-4)
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10)[1] == 1
    assert math.isnan(wilson(0, 0)[0])
    for bound in wilson(30, 100):  # where the score test is just as sure as asked
        z = (0.3 - bound) / math.sqrt(bound * (1 - bound) / 100)
        assert abs(z) == pytest.approx(1.96, abs=1e-3)


# The page in a browser


DRIVER = """
<script>
(async () => {
  const pause = (ms) => new Promise((go) => setTimeout(go, ms));
  const seen = [];
  document.getElementById("rater").value = "RATER";
  document.querySelector("form").requestSubmit();
  for (let step = 0; step < 200 && !document.getElementById("answers"); step++) {
    const form = document.getElementById("trial");
    const videos = [...document.querySelectorAll("video")];
    seen.push(videos.map((video) => video.getAttribute("src")).join(" "));
    const early = form.querySelector("button").disabled;
    for (const video of videos) {
      const broken = video.getAttribute("src").includes("BROKEN");
      video.dispatchEvent(new Event(broken ? "error" : "ended"));
    }
    const between = form.querySelector("button").disabled;
    for (const set of form.querySelectorAll("fieldset")) {
      const radios = set.querySelectorAll("input");
      radios[step % radios.length].click();
    }
    const failed = videos.some((video) => video.getAttribute("src").includes("BROKEN"));
    if (!early || between === failed || form.querySelector("button").disabled) seen.push("WRONG");
    form.querySelector("button").click();
    await pause(0);
  }
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify({ seen, answers: document.getElementById("answers").value });
  document.body.append(result);
})();
</script>
"""


def rate_in_browser(page: Path, rater: str, broken: str = "none") -> Any:
    browser = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if browser is None:
        pytest.skip("needs chromium to open the page in")
    driver = DRIVER.replace("RATER", rater).replace("BROKEN", broken)
    driven = page.with_name("driven.html")
    driven.write_text(page.read_text("utf-8").replace("</body>", f"{driver}</body>"), "utf-8")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        flags += [f"--user-data-dir={profile}", "--virtual-time-budget=20000"]
        done = subprocess.run(
            [browser, *flags, driven.as_uri()], capture_output=True, text=True, timeout=90
        )
    driven.unlink()
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


def test_a_rater_in_a_browser(study: Path) -> None:
    page = study / "study" / "index.html"
    first = rate_in_browser(page, "Ada")
    again = rate_in_browser(page, "Ada")
    other = rate_in_browser(page, "Bob")
    assert "WRONG" not in first["seen"]
    assert len(first["seen"]) == 12
    assert first["seen"] == again["seen"]
    assert first["seen"] != other["seen"]
    assert sorted(first["seen"][:9]) == sorted(other["seen"][:9])
    key = key_of(study)
    takes = {stimulus["file"]: stimulus["clip"] for stimulus in key["stimuli"].values()}
    files = []
    for name, session in (("Ada", first), ("Bob", other)):
        in_order = [takes[src] for src in session["seen"][:9]]
        assert all(one != other for one, other in itertools.pairwise(in_order))
        files.append(study / f"{name}.json")
        files[-1].write_text(session["answers"])
    scores = score_study(study / "study_key.json", files)
    assert scores.raters == ("Ada", "Bob")
    assert sum(r.count for r in scores.rows if r.question == "realism") == 18
    assert len([r for r in scores.rows if r.kind == "preference"]) == 2


def test_a_clip_that_cannot_be_played_is_left_out(study: Path) -> None:
    file = study / "Ada.json"
    session = rate_in_browser(study / "study" / "index.html", "Ada", broken="c0003")
    assert "WRONG" not in session["seen"]
    file.write_text(session["answers"])
    answers = {one["trial"]: one for one in json.loads(file.read_text())["answers"]}
    assert {trial for trial, one in answers.items() if one["failed"]} == {
        trial for trial in answers if "c0003" in trial
    }
    assert answers["c0003"]["values"] == {}
    scores = score_study(study / "study_key.json", [file])
    lost = sum("c0003" in trial for trial in answers)
    assert scores.notes[0] == (
        f"rater 'Ada' answered {12 - lost} of 12 steps (clips of {lost} could not be played); "
        "these count"
    )
    assert sum(r.count for r in scores.rows if r.question == "realism") == 8


def test_questions_ship_with_words_at_both_ends() -> None:
    assert {question.kind for question in QUESTIONS} == {"choice", "scale", "preference"}
    assert all(question.lowest and question.highest for question in (REALISM, LIPS))
    assert PREFERENCE not in RATINGS
