"""Partial: temporary files cannot be foreseen, and what planted files say is not believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ned.core.errors import OutputError
from ned.core.files.partial import Partial, publish_bytes


def hidden(folder: Path) -> list[Path]:
    return list(folder.glob(".*.partial"))


def test_names_are_unpredictable_and_go_away(tmp_path: Path) -> None:
    seen = set()
    for _ in range(3):
        partial = Partial(tmp_path / "a.txt")
        (path,) = hidden(tmp_path)
        seen.add(path.name)
        assert path.name.endswith(".a.txt.partial")
        partial.write(b"half")
        assert path.read_bytes() == partial.address.read_bytes() == b"half"
        partial.discard()
        assert hidden(tmp_path) == []
    assert len(seen) == 3


def test_stale_files_are_swept_and_others_are_not(tmp_path: Path) -> None:
    stale = [".a.txt.partial", ".0123456789abcdef.a.txt.partial"]
    kept = [".0123.a.txt.partial", ".b.a.txt.partial", ".0123456789abcdef.b.txt.partial"]
    for name in (*stale, *kept):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / "mine").write_text("mine")
    link = tmp_path / ".fedcba9876543210.a.txt.partial"
    link.symlink_to(tmp_path / "mine")
    publish_bytes(tmp_path / "a.txt", b"whole")
    assert sorted(path.name for path in hidden(tmp_path)) == sorted([*kept, link.name])
    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "a.txt").read_bytes() == b"whole"


def test_a_pipe_in_the_way_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".a.txt.partial")
    publish_bytes(tmp_path / "a.txt", b"whole")
    assert (tmp_path / "a.txt").read_bytes() == b"whole"


def test_only_one_at_a_time(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    first = Partial(tmp_path / "a.txt")
    with pytest.raises(OutputError, match="another process"):
        Partial(tmp_path / "a.txt")
    Partial(tmp_path / "b.txt").discard()
    first.write(b"x")
    first.publish()
    first.discard()
    assert (tmp_path / "a.txt").read_bytes() == b"x"
    assert hidden(tmp_path) == []
