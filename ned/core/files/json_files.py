"""JSON files: written by anyone, read so that whatever is wrong with them is a ValueError."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The values in a JSON text.

    Raises:
        ValueError: The text is no JSON, no UTF-8, or nested so deeply that nobody meant it.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
