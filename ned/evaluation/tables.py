"""Tables: results as JSON and CSV files, for whoever goes on counting.

Numbers that are not: NaN is null in JSON and empty in CSV; infinite values are the words "inf" and
"-inf" in both. Pairs are ordered by name, metrics as their mapping is, judges by name.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ned.core.files.partial import publish_bytes
from ned.evaluation.metric import Metric, Score, Skip
from ned.evaluation.result import PairResult, SetResult

FORMAT = "ned-evaluation-1"

COLUMNS = (
    "name",
    "method",
    "target",
    "metric",
    "judge",
    "value",
    "low",
    "high",
    "count",
    "unit",
    "better",
    "skipped",
)


def write_json(
    path: Path, results: SetResult, metrics: Mapping[str, Metric], header: Mapping[str, Any]
) -> None:
    """Write all scores, means, skips and confusion tables, and what every metric is.

    The curves over time are on the report page alone.

    Args:
        path: the file. results: what was measured. metrics: {name: metric} of all scores.
        header: what else a reader should know (versions, settings), of plain values.

    Raises:
        OutputError: The file cannot be written.
    """
    document = {
        "format": FORMAT,
        "header": plain(header),
        "metrics": {name: _metric(metric) for name, metric in metrics.items()},
        "means": {
            method: [_score(score) for score in in_order(scores, metrics)]
            for method, scores in sorted(results.means.items())
        },
        "pairs": [_pair(pair, metrics) for pair in pairs_in_order(results)],
        "skips": [_skip(skip) for skip in results.skips],
        "failed": dict(sorted(results.failed.items())),
    }
    write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def write_csv(
    path: Path, results: SetResult, metrics: Mapping[str, Metric], header: Mapping[str, Any]
) -> None:
    """Write one row per pair and metric; what was skipped has no value and a reason instead.

    The header is left to the JSON file, so that the first line names the columns. Text that a
    spreadsheet would take for a formula gets an apostrophe in front.

    Args:
        path: the file. results: what was measured. metrics: {name: metric} of all scores.
        header: not written.

    Raises:
        OutputError: The file cannot be written.
    """
    rows: list[Sequence[object]] = []
    for pair in pairs_in_order(results):
        who = (pair.name, pair.method, pair.target or "")
        for score in in_order(pair.scores, metrics):
            metric = metrics[score.metric]
            numbers = (score.value, score.low, score.high, score.count)
            rows.append((*who, score.metric, score.judge, *numbers, metric.unit, metric.better, ""))
        rows += _skipped(who, pair.skips, metrics)
    for name, reason in sorted(results.failed.items()):
        rows.append((name, *[""] * (len(COLUMNS) - 2), reason))
    rows += _skipped(("", "", ""), results.skips, metrics)
    write_rows(path, COLUMNS, rows)


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file of text and numbers.

    Raises:
        OutputError: The file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    write_text(path, text.getvalue())


def write_text(path: Path, text: str) -> None:
    """Write a text file that takes its name when it is complete.

    Raises:
        OutputError: The file cannot be written.
    """
    publish_bytes(path, text.encode("utf-8", "backslashreplace"))


def pairs_in_order(results: SetResult) -> list[PairResult]:
    """The pairs by name, then method."""
    return sorted(results.pairs, key=lambda pair: (pair.name, pair.method))


def in_order(scores: Iterable[Score], metrics: Mapping[str, Metric]) -> list[Score]:
    """Scores as the metrics are ordered, then by judge."""
    place = {name: index for index, name in enumerate(metrics)}
    return sorted(scores, key=lambda score: (place[score.metric], score.judge))


def plain(value: Any) -> Any:
    """A value in terms of JSON: paths as text, NaN as None, infinity as "inf" or "-inf"."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return [plain(item) for item in items]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")
    return str(value)


def _skipped(
    who: tuple[str, ...], skips: Iterable[Skip], metrics: Mapping[str, Metric]
) -> list[Sequence[object]]:
    rows: list[Sequence[object]] = []
    for skip in skips:
        for name in skip.metrics:
            known = metrics.get(name)
            about = (known.unit, known.better) if known else ("", "")
            rows.append((*who, name, "", "", "", "", 0, *about, skip.reason))
    return rows


def _cell(value: object) -> object:
    if isinstance(value, str):
        return f"'{value}" if value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value
    value = plain(value)
    return "" if value is None else value


def _pair(pair: PairResult, metrics: Mapping[str, Metric]) -> dict[str, Any]:
    return {
        "name": pair.name,
        "source": str(pair.source),
        "result": str(pair.result),
        "target": pair.target,
        "method": pair.method,
        "frames": pair.frames,
        "size": list(pair.size),
        "frame_rate": plain(pair.frame_rate),
        "scores": [_score(score) for score in in_order(pair.scores, metrics)],
        "skips": [_skip(skip) for skip in pair.skips],
        "confusion": [
            {"judge": label.judge, "names": list(label.names), "counts": label.confusion.tolist()}
            for label in pair.labels
        ],
    }


def _score(score: Score) -> dict[str, Any]:
    bounds = {"value": score.value, "low": score.low, "high": score.high}
    return {"metric": score.metric, "judge": score.judge, **plain(bounds), "count": score.count}


def _skip(skip: Skip) -> dict[str, Any]:
    return {"metrics": list(skip.metrics), "reason": skip.reason}


def _metric(metric: Metric) -> dict[str, Any]:
    return plain(
        {
            "title": metric.title,
            "unit": metric.unit,
            "better": metric.better,
            "range": metric.range,
            "perfect": metric.perfect,
            "definition": metric.definition,
            "source": metric.source,
        }
    )
