"""Study report: what people said, as a page, a table or JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ned.evaluation.page import numbers, page, render
from ned.evaluation.plots import Bar, bars, confusion
from ned.evaluation.study_scores import StudyScore, StudyScores
from ned.evaluation.tables import plain, write_rows, write_text

FORMAT = "ned-study-scores-1"

_COLUMNS = (
    "question",
    "kind",
    "method",
    "against",
    "value",
    "low",
    "high",
    "count",
    "raters",
)
_BOOTSTRAP = (
    "The 95 % interval is a bootstrap over raters and clips (Owen 2007); it needs four raters, and "
    "of fewer than four clips it speaks of other raters only."
)
_MEANING = {
    "mean opinion score": "Mean of all ratings from 1 (lowest) to the scale's highest step. "
    + _BOOTSTRAP,
    "recognition rate": "Share of answers that name the emotion that was asked for. " + _BOOTSTRAP,
    "preference": "Share of votes for the method against the other. The 95 % interval is Wilson's "
    "(1927) and takes all votes for independent; where one person votes often, it is too narrow.",
}
_AGREEMENT = (
    "Krippendorff's alpha: 1 where all raters agree, 0 where they agree as chance would. "
    "Krippendorff (2004) relies on 0.8 and more, draws tentative conclusions from 0.667."
)


def write_study_scores(
    folder: Path, scores: StudyScores, header: Mapping[str, Any] | None = None
) -> None:
    """Write study.html, study.csv and study.json into a folder.

    Args:
        folder: an existing one. scores: what people said.
        header: what else a reader should know (versions, settings), of plain values; not in CSV.

    Raises:
        OutputError: A file cannot be written.
    """
    rows = [[asdict(row)[column] for column in _COLUMNS] for row in scores.rows]
    document = {"format": FORMAT, "header": header or {}, **asdict(scores)}
    content = json.dumps(plain(document), indent=1, allow_nan=False)
    write_text(folder / "study.json", f"{content}\n")
    write_rows(folder / "study.csv", _COLUMNS, rows)
    write_text(folder / "study.html", study_report(scores, header or {}))


def study_report(scores: StudyScores, header: Mapping[str, Any]) -> str:
    """The page of what people said."""
    about = {"Study": scores.study, "Raters": f"{len(scores.raters)}: {', '.join(scores.raters)}"}
    body = render(
        "study_report.html",
        about={**header, **about},
        notes=scores.notes,
        questions=[_question(scores, name, words) for name, words in scores.questions.items()],
        agreement=_AGREEMENT,
    )
    return page("What people said", body)


def _question(scores: StudyScores, name: str, words: str) -> dict[str, Any]:
    """What the page says of one question."""
    rows = [row for row in scores.rows if row.question == name]
    alpha = scores.agreement.get(name, math.nan)
    tables = [table for table in scores.recognition if table.question == name]
    preference = bool(rows) and rows[0].kind == "preference"
    entries = [Bar(row.method, row.value, row.low, row.high) for row in rows]
    return {
        "words": words,
        "rows": _rows(rows),
        "meaning": _MEANING[rows[0].kind] if rows else "",
        "preference": preference,
        "bars": bars(rows[0].kind, entries, None) if rows and not preference else None,
        "agreement": "cannot be told" if math.isnan(alpha) else f"{alpha:.2f}".replace("-", "−"),
        "tables": [
            confusion(
                f"{table.method}: asked for (rows), named by raters (columns)",
                *(table.targets, table.choices, table.counts),
            )
            for table in tables
        ],
    }


def _rows(rows: Sequence[StudyScore]) -> list[tuple[StudyScore, str, str]]:
    """Scores with their values and intervals as text."""
    shown = iter(numbers(*(n for row in rows for n in (row.value, row.low, row.high))))
    told = []
    for row in rows:
        value, low, high = next(shown), next(shown), next(shown)
        told.append((row, value, "–" if math.isnan(row.low) else f"{low} to {high}"))
    return told
