"""Study report: what people said, as a page, a table or JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ned.evaluation.page import facts, items, numbers, page, text
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
    parts = [facts({**header, **about})]
    if scores.notes:
        parts.append("<h2>Before you rely on it</h2>" + items(map(text, scores.notes)))
    for name, words in scores.questions.items():
        rows = [row for row in scores.rows if row.question == name]
        parts.append(f"<h2>{text(words)}</h2>")
        if rows:
            parts.append(f'<p class="quiet">{text(_MEANING[rows[0].kind])}</p>' + _rows(rows))
        else:
            parts.append('<p class="quiet">There are no answers that could be scored.</p>')
        alpha = scores.agreement.get(name, math.nan)
        said = "cannot be told" if math.isnan(alpha) else f"{alpha:.2f}".replace("-", "−")
        parts.append(f"<p>Agreement of raters: <b>{said}</b></p>")
        for table in scores.recognition:
            if table.question == name:
                caption = f"{table.method}: asked for (rows), named by raters (columns)"
                parts.append(confusion(caption, table.targets, table.choices, table.counts))
    parts.append(f'<h2>Agreement</h2><p class="quiet">{text(_AGREEMENT)}</p>')
    return page("What people said", "\n".join(parts))


def _rows(rows: list[StudyScore]) -> str:
    preference = rows[0].kind == "preference"
    head = "<th>Against</th>" if preference else ""
    body = []
    shown_rows = iter(numbers(*(n for row in rows for n in (row.value, row.low, row.high))))
    for row in rows:
        shown, low, high = next(shown_rows), next(shown_rows), next(shown_rows)
        known = not math.isnan(row.low)
        against = f"<td>{text(row.against)}</td>" if preference else ""
        body.append(
            f'<tr><th>{text(row.method)}</th>{against}<td class="number">{shown}</td>'
            f'<td class="number">{f"{low} to {high}" if known else "–"}</td>'
            f'<td class="number">{row.count}</td><td class="number">{row.raters}</td></tr>'
        )
    table = (
        f'<div class="scroll"><table><thead><tr><th>Method</th>{head}<th class="number">Value</th>'
        '<th class="number">95 % interval</th><th class="number">Answers</th>'
        f'<th class="number">Raters</th></tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )
    if preference:
        return table
    entries = [Bar(row.method, row.value, row.low, row.high) for row in rows]
    return f'{table}<div class="grid">{bars(rows[0].kind, entries, None)}</div>'
