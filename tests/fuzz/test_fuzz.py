"""The short version of `make fuzz`: a few files of every kind, always the same ones."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("hypothesis")

from fuzz import Finding, attempt, edited, fuzz
from inputs import Kind, kinds

from ned.core.errors import InputError

NAMES = (
    *("timeline", "take", "emotions", "description", "performance", "track", "weights"),
    *("pickle", "record", "study answers", "study key", "picture", "film"),
)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Kind]:
    return kinds(tmp_path_factory.mktemp("seeds"))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_found(name: str, known: dict[str, Kind], tmp_path: Path) -> None:
    kind = known[name]
    if not kind.seeds:
        pytest.skip("needs torch")
    for data in kind.seeds if not kind.apart else kind.seeds[2:3]:
        path = tmp_path / f"valid{kind.suffix}"
        path.write_bytes(data)
        kind.read(path)  # or the mutations are of nothing
    fuzz(kind, 2 if kind.apart else 60, 1, tmp_path)


def test_every_kind_is_named(known: dict[str, Kind]) -> None:
    assert set(NAMES) == set(known)


def test_a_fault_is_found_and_made_small(tmp_path: Path) -> None:
    def read(path: Path) -> None:
        data = path.read_bytes()
        if b"[" in data:
            raise KeyError("planted")
        if b"{" in data:
            raise InputError("one line")

    kind = Kind(".txt", [b"0123456789" * 9], read, ["[", "{", "a"])
    with pytest.raises(Finding, match=r"KeyError at test_fuzz\.py"):
        fuzz(kind, 200, 1, tmp_path)
    assert (tmp_path / "input.txt").read_bytes() == b"["


def test_errors_of_two_lines_are_findings(tmp_path: Path) -> None:
    def read(path: Path) -> None:
        raise InputError("two\nlines")

    with pytest.raises(Finding, match="more than one line"):
        attempt(Kind(".txt", [b""], read), b"", tmp_path)


def test_edits() -> None:
    data = b"0123456789"
    assert edited(data, [("cut", 0.8, b"")]) == b"012345"
    assert edited(data, [("delete", 0, b"ab")]) == b"23456789"
    assert edited(data, [("insert", 0, b"ab")]) == b"ab0123456789"
    assert edited(data, [("replace", 0, b"ab")]) == b"ab23456789"
    assert edited(b"", [("flip", 0.5, b"a"), ("cut", 1, b""), ("repeat", 1, b"")]) == b""
