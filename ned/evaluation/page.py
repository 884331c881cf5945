"""Page: the frame of every page that is written, and how text and numbers appear on it."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

# Nothing may be fetched, and no script may run, whatever a file is called.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(title: str, body: str, more_policy: str = "", brand: str = "NED") -> str:
    """A complete HTML document that needs nothing but itself.

    Args:
        title: text. body: HTML.
        more_policy: what else the page may load or run, as a content security policy.
        brand: a word above the title.
    """
    style = files("ned.evaluation").joinpath("page.css").read_text("utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}{more_policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f'<body>\n<div class="brand">{text(brand)}</div>\n<h1>{text(title)}</h1>\n'
        f"{body}\n</body>\n</html>\n"
    )


def text(value: object) -> str:
    """Text as HTML that shows it: escaped, with control and direction characters made visible."""
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in str(value)
    )
    return html.escape(shown, quote=True)


def facts(pairs: Mapping[str, Any]) -> str:
    """A small list of names and values."""
    if not pairs:
        return ""
    rows = "".join(f"<dt>{text(k)}</dt><dd>{text(_words(v))}</dd>" for k, v in pairs.items())
    return f'<dl class="facts">{rows}</dl>'


def numbers(*values: float) -> list[str]:
    """Values with three or four significant digits of the largest, all with as many decimals.

    Infinite values are ∞, those that are not known a dash.
    """
    finite = [abs(value) for value in values if math.isfinite(value) and value]
    decimals = min(max(2 - math.floor(math.log10(max(finite) / 2)), 0), 6) if finite else 0
    return [_number(value, decimals) for value in values]


def value_and_interval(value: float, low: float, high: float) -> str:
    """HTML of a value with its interval below it, if there is one."""
    if math.isnan(low) or math.isnan(high):
        return numbers(value)[0]
    shown = numbers(value, low, high)
    return f"{shown[0]}<small>{shown[1]} to {shown[2]}</small>"


def unit_suffix(unit: str) -> str:
    """A unit as it follows a number."""
    return {"": "", "%": " %", "degrees": "°"}.get(unit, f" {unit}")


def items(lines: Iterable[str], kind: str = "plain") -> str:
    """A list of lines of HTML."""
    return f'<ul class="{kind}">{"".join(f"<li>{line}</li>" for line in lines)}</ul>'


def _number(value: float, decimals: int) -> str:
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−")


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_words(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(_words(item) for item in value)
    return str(value)
