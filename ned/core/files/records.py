"""Stages: what was made from what, so that finished work is neither repeated nor trusted blindly.

A result is up to date when the recorded hash of its inputs, options and version is the one that
would be recorded now, and its files are there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ned.core.errors import OutputError, quoted
from ned.core.files.json_files import parse_json
from ned.core.files.partial import Partial, output_errors, write_hidden

_BLOCK = 1 << 22  # bytes


def fingerprint(**parts: Any) -> str:
    """Hash of named values that JSON can hold; the order of names does not matter."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def content_hash(path: Path) -> str:
    """Hash of a file's bytes."""
    state = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            state.update(block)
    return state.hexdigest()


@dataclass
class Record:
    """What is known about the results made from one video.

    Attributes:
        path: the JSON file; it is rewritten whole with every change.
        source: size, time stamp and content hash of the video when it was last read.
        first: number of the video's first frame. count: how many it has. split: see Actor.
        made: hash by result; `done` names those that are complete.
    """

    path: Path
    source: dict[str, Any] = field(default_factory=dict)
    first: int = 0
    count: int = 0
    split: int | None = None
    made: dict[str, str] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)

    @classmethod
    def load(cls, path: Path) -> Record:
        """The record in a file; an empty one where there is none, or none that can be read."""
        try:
            data = parse_json(path.read_text())
            return cls(
                path=path,
                source=dict(data["source"]),
                first=int(data["first"]),
                count=int(data["count"]),
                split=None if data["split"] is None else int(data["split"]),
                made=dict(data["made"]),
                done=set(data["done"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return cls(path)

    def save(self) -> None:
        """Write the file atomically; raises OutputError."""
        data = {
            "source": self.source,
            "first": self.first,
            "count": self.count,
            "split": self.split,
            "made": dict(sorted(self.made.items())),
            "done": sorted(self.done),
        }
        write_atomically(self.path, (json.dumps(data, indent=1) + "\n").encode())

    def source_hash(self, video: Path) -> str:
        """The video's content hash, read anew unless size and time stamp are as recorded."""
        state = video.stat()
        now = {"bytes": state.st_size, "modified": state.st_mtime_ns}
        if self.source.items() >= now.items() and "hash" in self.source:
            return self.source["hash"]
        self.source = {**now, "hash": content_hash(video)}
        return self.source["hash"]

    def begin(self, hashes: Mapping[str, str]) -> None:
        """Note what is about to be made of what, before the first file is written."""
        self.made.update(hashes)
        self.done -= set(hashes)
        self.save()

    def finish(self, names: Mapping[str, str] | set[str]) -> None:
        """Note that results are complete."""
        self.done |= set(names)
        self.save()

    def drop(self, names: set[str]) -> None:
        """Forget results whose files have been removed."""
        self.made = {name: made for name, made in self.made.items() if name not in names}
        self.done -= names
        self.save()


@contextlib.contextmanager
def locked(path: Path, what: Path) -> Iterator[None]:
    """Hold a lock file while writing into a folder, so that two runs do not fight over it.

    Raises:
        OutputError: Another process holds it, or the file cannot be made.
    """
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        partial = Partial(path)
    except OutputError as error:
        if "another process" in str(error):
            raise OutputError(
                f"{quoted(what)} is being worked on by another process; wait for it"
            ) from error
        raise
    try:
        yield
    finally:
        partial.discard()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is there completely or not at all; its folder is made where missing.

    Raises:
        OutputError: The disk is full or does not let us.
    """
    with output_errors(path):
        try:
            hidden = write_hidden(path, data)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            hidden = write_hidden(path, data)
        try:
            hidden.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                hidden.unlink()
            raise


def sweep(folder: Path) -> None:
    """Remove what a killed run has left half-written in a folder and the folders in it."""
    if folder.is_dir():
        for path in folder.rglob(".*.partial"):
            with contextlib.suppress(OSError):
                path.unlink()
