"""Page: the frame of every page that is written, and how text and numbers appear on it.

Pages are made of the templates in `templates/`, which escape whatever is put into them; control and
direction characters are made visible, so that names of files stay words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

# Nothing may be fetched, and no script may run, whatever a file is called.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

ARROWS = {
    "higher": ("↑", "higher is better"),
    "lower": ("↓", "lower is better"),
    "near zero": ("→", "nearer to zero is better"),
}


def page(title: str, body: Markup, more_policy: str = "", brand: str = "NED") -> str:
    """A complete HTML document that needs nothing but itself.

    Args:
        title: text. body: HTML.
        more_policy: what else the page may load or run, as a content security policy.
        brand: a word above the title.
    """
    return render(
        "page.html",
        title=title,
        body=body,
        policy=Markup(_POLICY + more_policy),
        style=own_file("page.css"),
        brand=brand,
    )


def render(template: str, **values: object) -> Markup:
    """HTML of a template; text among the values is escaped, `Markup` is HTML already."""
    return Markup(_environment().get_template(template).render(**values))


def macros(template: str) -> Any:
    """The macros of a template, as functions that give HTML."""
    return _environment().get_template(template).module


def own_file(name: str) -> Markup:
    """The text of a file beside this one (style sheet, script), as it goes into a page."""
    return Markup(files("ned.evaluation").joinpath(name).read_text("utf-8"))


def text(value: object) -> Markup:
    """Text as HTML that shows it: escaped, with control and direction characters made visible."""
    return escape(_visible(value))


def numbers(*values: float) -> list[str]:
    """Values with three or four significant digits of the largest, all with as many decimals.

    Infinite values are ∞, those that are not known a dash.
    """
    finite = [abs(value) for value in values if math.isfinite(value) and value]
    decimals = min(max(2 - math.floor(math.log10(max(finite) / 2)), 0), 6) if finite else 0
    return [_number(value, decimals) for value in values]


def unit_suffix(unit: str) -> str:
    """A unit as it follows a number."""
    return {"": "", "%": " %", "degrees": "°"}.get(unit, f" {unit}")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ned.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"numbers": numbers, "arrows": ARROWS}
    environment.filters |= {"words": _words, "unit": unit_suffix, "limit": _limit}
    return environment


def _visible(value: object) -> object:
    """Text whose control and direction characters can be seen; HTML as it is."""
    if isinstance(value, Markup):
        return value
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in str(value)
    )


def _limit(value: float) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:g}".replace("-", "−")


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
