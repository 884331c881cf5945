"""YAML files: bombs are refused in one short line, and at once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ned.core.errors import InputError
from ned.core.files.yaml_files import load, shown
from ned.core.script.timeline_file import parse_take, read_take
from ned.evaluation.plugin import describe

LAUGHS = "a0: &a0 [1, 1]\n" + "".join(
    f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)
)
BOMBS = {
    "laughs": LAUGHS,
    "deep": "[" * 50_000,
    "deep mapping": "{a: " * 20_000,
    "alias of itself": "&a [*a]",
    "long": "a: " + "x" * 700_000,
    "digits": "size: " + "9" * 20_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "take.yaml"
    path.write_text(BOMBS[name])
    began = time.monotonic()
    with pytest.raises(InputError) as caught:
        read_take(path, ("happy",))
    assert len(str(caught.value)) < 300 + len(str(path))
    with pytest.raises(InputError) as caught:
        describe(path, "judges", frozenset({"file", "size"}), {})[0].picture()
    assert len(str(caught.value)) < 300 + len(str(path))
    assert time.monotonic() - began < 5


def test_a_take_of_very_many_keys_is_refused() -> None:
    text = "keys:\n" + "".join(f"- {{at: {n}, emotion: happy}}\n" for n in range(10_001))
    with pytest.raises(InputError, match="there are 10001 keys, give at most 10000"):
        parse_take(text, ("happy",))


def test_ordinary_values_are_read_and_shown() -> None:
    assert load("a: [1, 2.5, {b: null}]", "x") == {"a": [1, 2.5, {"b": None}]}
    assert shown("x" * 500) == "'" + "x" * 56 + "..."
    assert shown(5) == "5"
    assert len(shown(1 << 100_000)) < 80
