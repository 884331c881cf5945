"""Tables, plots and the report page: complete, safe, small, and they open anywhere."""

from __future__ import annotations

import csv
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_up_results import METRICS, NAMES, faces, noise_faces, pair, several
from numpy.typing import NDArray

from ned.core.errors import OutputError
from ned.evaluation.metric import Score, Skip
from ned.evaluation.page import numbers, text
from ned.evaluation.plots import Bar, bars, confusion, curves
from ned.evaluation.report import MOST_BYTES, report, write_report
from ned.evaluation.result import PairResult, Series, SetResult
from ned.evaluation.tables import write_csv, write_json

HOSTILE = "<script>alert('1')</script>\"&\x1b[31m\u202e\udcff\n=2+2"


class Page(HTMLParser):
    """Reads a page as a browser does and remembers what it saw."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "path", "rect"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html, self.words, self.tags, self.open = html, [], [], []
        self.feed(html)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"style", "script"}:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def only(one: PairResult) -> SetResult:
    return SetResult([one])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# Tables


def test_json_tells_everything_in_plain_numbers(tmp_path: Path) -> None:
    results = several(4)
    results.failed = {"b": "no face", "a": "too short"}
    results.skips = [Skip(("realism.lpips",), "no weights")]
    header = {"version": "1", "path": Path("a"), "odd": [math.nan, -math.inf, np.float32(0.5)]}
    write_json(tmp_path / "a.json", results, METRICS, header)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    text_ = (tmp_path / "a.json").read_text("utf-8")
    document = json.loads(text_, parse_constant=refuse)
    assert document["header"] == {"version": "1", "path": "a", "odd": [None, "-inf", 0.5]}
    assert [p["name"] for p in document["pairs"]] == sorted(p.name for p in results.pairs)
    scores = {(s["metric"], s["judge"]): s for s in document["pairs"][0]["scores"]}
    assert scores["background.psnr", ""]["value"] == "inf"
    assert scores["speech.lag", ""]["low"] is None
    first = next(p for p in results.pairs if p.name == document["pairs"][0]["name"])
    assert scores["emotion.target", "b"]["value"] == first.scores[1].value
    assert scores["emotion.target", "b"]["count"] == first.frames
    assert np.sum(document["pairs"][0]["confusion"][0]["counts"]) == first.frames
    assert document["metrics"]["background.psnr"]["perfect"] == "inf"
    assert list(document["failed"]) == ["a", "b"]
    assert set(document["means"]) == {"ned", "wav2lip-emotion"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_csv_has_a_row_for_every_score_and_every_gap(tmp_path: Path) -> None:
    results = several(3)
    results.failed = {"x": "no face"}
    write_csv(tmp_path / "a.csv", results, METRICS, {})
    table = rows(tmp_path / "a.csv")
    assert len(table) == sum(len(p.scores) + 1 for p in results.pairs) + 1
    by_metric = {(r["name"], r["metric"], r["judge"]): r for r in table}
    one = results.pairs[0]
    row = by_metric[one.name, "emotion.change", "a"]
    assert float(row["value"]) == one.scores[2].value
    assert (row["method"], row["target"], row["unit"], row["better"]) == (
        one.method, "happy", "%", "higher",
    )  # fmt: skip
    assert by_metric[one.name, "background.psnr", ""]["value"] == "inf"
    assert by_metric[one.name, "speech.lag", ""]["low"] == ""
    skipped = by_metric[one.name, "realism.lpips", ""]
    assert skipped["value"] == ""
    assert "weights" in skipped["skipped"]
    assert by_metric["x", "", ""]["skipped"] == "no face"


def test_the_order_does_not_depend_on_who_came_first(tmp_path: Path) -> None:
    results = several(5)
    write_csv(tmp_path / "a.csv", results, METRICS, {})
    shuffled = SetResult(results.pairs[::-1], means=dict(reversed(results.means.items())))
    for one in shuffled.pairs:
        one.scores.reverse()
    write_csv(tmp_path / "b.csv", shuffled, METRICS, {})
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    metrics = [row["metric"] for row in rows(tmp_path / "a.csv")][:8]
    assert metrics == sorted(metrics, key=list(METRICS).index)


def test_spreadsheets_get_no_formulas(tmp_path: Path) -> None:
    one = pair("=cmd()|x", "@m", "+t")
    one.scores = [Score("speech.lag", -2.5)]
    write_csv(tmp_path / "a.csv", only(one), METRICS, {})
    row = rows(tmp_path / "a.csv")[0]
    assert (row["name"], row["method"], row["target"]) == ("'=cmd()|x", "'@m", "'+t")
    assert row["value"] == "-2.5"


@pytest.mark.parametrize("write", [write_csv, write_json, write_report])
def test_files_that_cannot_be_written(tmp_path: Path, write: object) -> None:
    (tmp_path / "taken").mkdir()
    for target in (tmp_path / "none" / "a", tmp_path / "taken"):
        with pytest.raises(OutputError, match="cannot be written"):
            write(target, only(pair(seconds=1)), METRICS, {})  # type: ignore[operator]
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


# Page


def test_the_page_of_one_result_shows_all_of_it(portrait: NDArray[np.uint8]) -> None:
    one = pair("take_3", "ned", pictures=faces(portrait, 6))
    page = Page(report(only(one), METRICS, {"Judges": ["a", "b"]}))
    assert "Evaluation of take_3" in page.text
    assert page.all("title")
    for metric in METRICS.values():
        assert text(metric.title) in page.html
        assert text(metric.definition) in page.html
        assert text(metric.source) in page.html
    assert "0.850 to 0.993" in page.text
    assert "the weights of LPIPS are missing" in page.text
    assert len(page.all("img")) == 6
    assert [image["alt"][:14] for image in page.all("img")][1] == "Face at 0.84 s"  # type: ignore[index]
    assert page.html.count("Over time") == 1
    counts = one.labels[0].confusion
    assert counts.max() == counts[0, NAMES.index("happy")]
    assert f">{counts.max()}<" in page.html


def test_the_page_needs_nothing_else_and_runs_nothing(portrait: NDArray[np.uint8]) -> None:
    results = several(3)
    results.pairs[0].pictures = faces(portrait, 2)
    page = Page(report(results, METRICS, {}))
    assert not page.all("script")
    assert not page.all("link")
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith(("data:image/webp", "data:"))
    assert not re.search(r"url\(|@import|https?://", page.html)
    policy = next(m["content"] for m in page.all("meta") if "content" in m and "http-equiv" in m)
    assert "default-src 'none'" in policy  # type: ignore[operator]


def test_hostile_names_stay_words(tmp_path: Path) -> None:
    one = pair(HOSTILE, HOSTILE, HOSTILE)
    one.source = one.result = Path(HOSTILE.replace("/", ""))
    one.skips = [Skip((HOSTILE,), HOSTILE)]
    one.series = [Series(HOSTILE, HOSTILE, np.arange(3.0), {HOSTILE: np.zeros(3, np.float32)})]
    results = SetResult([one, pair()], {HOSTILE: HOSTILE}, {HOSTILE: one.scores}, one.skips)
    write_report(tmp_path / "a.html", results, METRICS, {HOSTILE: {HOSTILE: [HOSTILE]}})
    write_json(tmp_path / "a.json", results, METRICS, {HOSTILE: HOSTILE})
    write_csv(tmp_path / "a.csv", results, METRICS, {})
    html = (tmp_path / "a.html").read_text("utf-8")
    page = Page(html)
    assert not page.all("script")
    assert "<script>alert('1')</script>\"&\\x1b[31m\\u202e" in page.text
    assert not set("\x1b\u202e") & set(html)
    assert json.loads((tmp_path / "a.json").read_text("utf-8"))["pairs"][1]["name"]
    assert any(row["name"].startswith("<script>") for row in rows(tmp_path / "a.csv"))


def test_methods_stand_side_by_side_and_the_best_is_marked() -> None:
    def marked(metric: str, *scores: tuple[float, float, float]) -> list[str]:
        names = "abc"[: len(scores)]
        means = {n: [Score(metric, *s, 9)] for n, s in zip(names, scores, strict=True)}
        html = report(SetResult([pair("p"), pair("q")], means=means), METRICS, {})
        assert "Methods side by side" in html
        table = html[html.index("Means over clips") : html.index("Methods side by side")]
        return re.findall(r'<td class="number([ a-z]*)">', table)

    apart = (0.9, 0.85, 0.95), (0.5, 0.4, 0.6), (0.7, 0.65, 0.75)
    assert marked("speech.aperture_r", *apart) == [" best clear", "", ""]
    assert marked("identity.rig", *apart) == ["", " best clear", ""]
    assert marked("identity.rig", (2, 1, 3), (2.5, 1.5, 3.5)) == [" best", ""]
    assert marked("speech.lag", (-2, -3, -1), (0.5, 0.1, 0.9)) == ["", " best clear"]
    assert marked("speech.lag", (-0.5, math.nan, math.nan), (2, 1, 3)) == [" best", ""]
    assert marked("identity.rig", (2.00001, 1, 3), (2, 1, 3)) == ["", ""]
    infinite = (math.inf, math.inf, math.inf)
    assert marked("background.psnr", infinite, infinite) == ["", ""]
    assert marked("background.psnr", (40, 39, 41), infinite) == ["", " best clear"]


def test_only_one_page_for_one_result_without_means() -> None:
    page = Page(report(only(pair()), METRICS, {}))
    assert "Every result" not in page.text
    assert "Methods side by side" not in page.text


def test_nothing_measured_is_said() -> None:
    assert "Evaluation of 0 results" in report(SetResult([], {"a": "no face"}), METRICS, {})
    assert "no face" in report(SetResult([], {"a": "no face"}), METRICS, {})
    empty = PairResult("a", Path("a"), Path("b"), None, "", 0, (1, 1), 25.0)
    assert "Nothing could be measured" in report(only(empty), METRICS, {})


@pytest.mark.parametrize(("count", "kept"), [(1, "all"), (24, "fewer"), (150, "fewer")])
def test_the_page_is_small_however_much_there_is(count: int, kept: str) -> None:
    results = several(count)
    pictures = noise_faces(14, 192)
    for one in results.pairs:
        one.pictures = pictures
    html = report(results, METRICS, {})
    assert len(html.encode()) <= MOST_BYTES
    page = Page(html)
    assert "pictures were left out" in page.text
    assert len(page.all("img")) >= min(count, 60) * 2
    assert ("are in the CSV and JSON files" in page.text) == (count > 60)
    if kept == "fewer":
        assert len(html.encode()) > MOST_BYTES / 4  # room is used


def test_the_page_is_small_even_of_thousands_with_long_curves() -> None:
    long = pair(seconds=600)
    long.series *= 12
    results = SetResult([long] * 3000, {f"{'x' * 200}{i}": "no" * 90 for i in range(9000)})
    html = report(results, METRICS, {})
    assert len(html.encode()) <= MOST_BYTES
    assert "more, in the JSON file" in html
    assert "points each" in html


# Plots and numbers


def points(figure: str) -> list[tuple[float, float]]:
    path = re.findall(r'<path class="curve[^>]* d="([^"]+)"', figure)[0]
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]


def test_curves_keep_peaks_and_gaps() -> None:
    times = np.arange(50_000) / 25
    values = np.sin(times).astype(np.float32)
    values[31_234] = 9
    values[10_000:20_000] = math.nan
    figure = curves(Series("a", "", times, {"a": values}), 200)
    drawn = points(figure)
    assert len(drawn) <= 200
    assert min(y for _, y in drawn) < 25 < 100 < sorted(y for _, y in drawn)[1]
    assert re.findall(r'<path class="curve[^>]* d="([^"]+)"', figure)[0].count("M") == 2
    assert max(np.diff([x for x, _ in drawn])) > 100


def test_curves_of_little() -> None:
    none = np.full(4, math.nan, np.float32)
    assert "Nothing was measured" in curves(Series("a", "", np.arange(4.0), {"a": none}))
    assert "Nothing was measured" in curves(Series("a", "", np.zeros(0), {}))
    one = curves(Series("a", "", np.zeros(1), {"a": np.ones(1, np.float32)}))
    assert len(points(one)) == 1
    flat = curves(Series("a", "", np.arange(2.0), {"a": np.full(2, 5, np.float32)}))
    assert len({y for _, y in points(flat)}) == 1
    infinite = np.array([1, np.inf, 2], np.float32)
    assert len(points(curves(Series("a", "", np.arange(3.0), {"a": infinite})))) == 2


def test_bars_are_as_long_as_their_values() -> None:
    figure = bars("a", [Bar("x", 2.0, 1.5, 2.5), Bar("y", 1.0), Bar("z", math.inf)], 0.0)
    wide = [float(width) for width in re.findall(r'class="bar"[^>]*width="([\d.]+)"', figure)]
    assert len(wide) == 2
    assert wide[0] == pytest.approx(2 * wide[1], rel=0.01)
    assert figure.count("whisker") == 1
    assert "∞" in figure
    below = bars("a", [Bar("x", -2.0), Bar("y", 1.0)], None)
    x = [float(v) for v in re.findall(r'class="bar" x="([\d.]+)"', below)]
    assert x[0] < x[1]
    assert re.findall(r">([−\d.]+)</text>", bars("a", [Bar("x", 0.0)], None))[0] == "0"


def test_confusion_is_shaded_by_count() -> None:
    table = confusion("c", ["r"], ["a", "b"], np.array([[1, 4]]), "b")
    assert re.findall(r"--share:([\d.]+)", table) == ["0.50", "1.00"]
    assert re.search(r'<th class="number target">b<', table)


def test_numbers_have_three_or_four_digits() -> None:
    assert numbers(0.87654, 0.8, 0.95) == ["0.877", "0.800", "0.950"]
    assert numbers(38.123, 4.0) == ["38.1", "4.0"]
    assert numbers(0.998, 1.0) == ["0.998", "1.000"]
    assert numbers(12345.6) == ["12346"]
    assert numbers(-0.5, 0.00001) == ["−0.500", "0.000"]
    assert numbers(-0.00001, 1) == ["0.000", "1.000"]
    assert numbers(0.0) == ["0"]
    assert numbers(math.inf, -math.inf, math.nan) == ["∞", "−∞", "–"]
