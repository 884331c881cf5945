"""What a terminal shows of an evaluation: little, aligned, no verdict that numbers do not give."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from ned import cli
from ned.core.table import Detail, Line, Row, Table, plain_lines
from ned.evaluation.catalogue import METRICS
from ned.evaluation.metric import Score, Skip
from ned.evaluation.result import PairResult, SetResult
from ned.evaluation.score_table import HEADLINES, direction, score_table, tell, verdict


def result(name: str = "a", method: str = "", **values: float) -> PairResult:
    scores = [Score(m, values.get(m.replace(".", "_"), 0.5), 0.4, 0.6, 9) for m in METRICS]
    skips = [Skip(("realism.fid",), "no weights of FID"), Skip(("realism.fvd",), "no weights")]
    return PairResult(
        name, Path("a.mp4"), Path("b.mp4"), "happy", method, 99, (9, 9), 25.0, scores, skips
    )


def text(lines: list[Line], verbose: bool) -> list[str]:
    return [one for line in lines for one in plain_lines(line, verbose)]


def test_at_first_a_page_and_all_of_it_when_asked() -> None:
    lines = tell(SetResult([result()]), METRICS)
    brief, whole = text(lines, False), text(lines, True)
    assert len(brief) <= 30
    assert brief[0] == "b.mp4 against a.mp4, 99 frames, happy asked for"
    assert sum("0.500" in line for line in brief) == len(HEADLINES)
    assert sum("0.500" in line for line in whole) == len(METRICS)
    assert not any("no weights of FID" in line for line in brief)
    assert "  2 of 51 measures left out somewhere, for 2 reasons; --verbose tells" in brief[-1]
    assert "  skipped realism.fid: no weights of FID" in whole
    starts = {line.index("0.400 to 0.600") for line in brief if "0.400 to" in line}
    assert len(starts) == 1  # one column


def test_headlines_are_metrics_in_their_order() -> None:
    assert sorted(HEADLINES, key=list(METRICS).index) == list(HEADLINES)


def row(metric: str, value: float, low: float = math.nan, high: float = math.nan) -> list[str]:
    table = score_table("", [Score(metric, value, low, high)], METRICS)
    return list(table.rows[0].cells)


def test_a_line_says_what_how_much_and_where_better_lies() -> None:
    assert row("background.psnr", 41.26, 40.0, 42.0) == [
        "background", "PSNR outside the face (dB)", "41.3", "40.0 to 42.0", "↑ higher", "∞", "",
    ]  # fmt: skip
    assert row("speech.audio_lag", -2.0)[2:6] == ["−2.00", "", "→ nearer to 0", "0"]
    assert direction(METRICS["pose.rotation"]) == "↓ lower"
    assert {direction(metric)[0] for metric in METRICS.values()} == {"↑", "↓", "→"}


@pytest.mark.parametrize(
    ("metric", "score", "words"),
    [
        ("emotion.change", (0.3, 0.1, 0.5), "more than in the source"),
        ("emotion.change", (-0.3, -0.5, -0.1), "less than in the source"),
        ("emotion.change", (0.1, -0.1, 0.3), "not told from a copy"),
        ("realism.sharpness", (-0.3, -0.5, -0.1), "softer than the source"),
        ("realism.sharpness", (0.3, 0.1, 0.5), "sharper than the source"),
        ("pose.rotation", (0.0, 0.0, 0.0), "as a copy"),
        ("background.psnr", (math.inf, math.inf, math.inf), "as a copy"),
        ("pose.rotation", (3.0, 2.0, 4.0), ""),
        ("speech.aperture_r", (0.99, 0.98, 0.995), ""),
        ("emotion.target", (0.9, 0.8, 1.0), ""),
        ("emotion.change", (0.3, math.nan, math.nan), ""),
    ],
)
def test_verdicts_are_what_numbers_say_and_no_more(
    metric: str, score: tuple[float, float, float], words: str
) -> None:
    assert verdict(METRICS[metric], Score(metric, *score)) == words


def test_of_several_judges_the_mean_is_shown() -> None:
    scores = [Score("emotion.target", v, judge=j) for j, v in (("x", 0.1), ("mean", 0.2))]
    scores.append(Score("emotion.accuracy", 0.3, judge="x"))
    table = score_table("", scores, METRICS)
    assert [cells[2] for cells in table.shown(False)] == ["0.200", "0.300"]
    assert ["x" in cells[1] for cells in table.shown(True)] == [False, True, False]


def test_methods_stand_side_by_side() -> None:
    pairs = [result("a", "ours"), result("b", "ours"), result("c", "theirs")]
    means = {"theirs": [Score("pose.rotation", 2.0)], "ours": [Score("pose.rotation", 1.0)]}
    found = SetResult(pairs, {f"x{n}": "no face" for n in range(9)}, means)
    brief = text(tell(found, METRICS), False)
    assert brief[0] == "means of 2 clips of ours, 1 clips of theirs"
    assert brief[1].split() == ["measure", "ours", "theirs", "better", "a", "copy", "has"]
    assert brief[2].split()[:1] == ["pose"]
    assert brief[2].index("1.00") < brief[2].index("2.00")
    assert sum("not scored" in line for line in brief) == 3
    assert "  and 6 more could not be scored" in brief
    assert sum("not scored" in line for line in text(tell(found, METRICS), True)) == 9


def test_plain_tables_align() -> None:
    table = Table(("a", ">number"), (Row(("x", "1")), Row(("long", "23")), Row(("y", "4"), True)))
    assert table.lines() == ["  a     number", "  x          1", "  long      23"]
    assert table.lines(True)[-1] == "  y          4"
    assert plain_lines(Detail("x")) == []
    assert plain_lines(Detail("x"), True) == ["x"]


@pytest.mark.parametrize("terminal", [False, True])
def test_terminals_get_rules_and_pipes_plain_text(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    hostile = "[red]x\x1b[31m"
    cli._print(Table(("a", ">b"), (Row((hostile, "1")), Row(("y", "2"), True)), "title"), False)
    shown = capsys.readouterr().out
    assert ("─" in shown) == terminal
    assert "title" in shown
    assert "[red]x\\x1b[31m" in shown
    assert "y" not in shown
