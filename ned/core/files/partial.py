"""Partial: a file that takes its name only when it is complete."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from av.error import FFmpegError

from ned.core.errors import OutputError, quoted, reason

log = logging.getLogger(__name__)

_RANDOM_BYTES = 8
_HIDDEN = re.compile(r"(\.[0-9a-f]{16})?")  # what stands before `_ending`
_LONGEST_NAME = 255 - len(".partial") - 2 * _RANDOM_BYTES - 2  # bytes
_ATTEMPTS = 4
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


@contextlib.contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn whatever the disk, a muxer or an encoder says into one line about the output."""
    try:
        yield
    except (FFmpegError, OSError) as error:
        raise OutputError(
            f"{quoted(path)} cannot be written: {reason(error)}; "
            "check free space and permissions, or choose another folder"
        ) from error


class Partial:
    """A file under a hidden, unpredictable name until it is complete; one process at a time.

    Attributes:
        target: the name that the file is going to take.
        path: the hidden name, beside the target.
        address: a path by which the file is written; where the system has one (Linux), that of
            the open descriptor, so that nothing planted under the hidden name is followed.
    """

    def __init__(self, target: Path) -> None:
        """Make the file.

        Raises:
            OutputError: The folder refuses it, or another process is writing this target.
        """
        self.target = target
        self._published = False
        with output_errors(target):
            self.path, self._file = _made(target)
        self.address = _address(self._file, self.path)

    def write(self, data: bytes) -> None:
        """Append bytes; raises OSError."""
        assert self._file is not None
        write_all(self._file, data)

    def renew(self) -> None:
        """Take the file that has the hidden name now, where somebody has put another one there.

        Raises:
            OutputError: It is gone, or no regular file.
        """
        assert self._file is not None
        if _same(self._file, self.path):
            return
        with output_errors(self.target):
            file = os.open(self.path, os.O_RDWR | _NO_FOLLOW | _NO_WAIT)
            os.close(self._file)
            self._file = file
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError("its temporary file is no regular file any more")

    def publish(self) -> None:
        """Give the complete file its name.

        Raises:
            OutputError: The disk does not take the rest of the data, or the name.
        """
        assert self._file is not None
        with output_errors(self.target):
            os.fsync(self._file)
            if not _same(self._file, self.path):
                raise OSError("its temporary file was replaced by another one")
            self.path.replace(self.target)
        self._published = True

    def discard(self) -> None:
        """Remove the file unless it is published; a second call does nothing."""
        if self._file is None:
            return
        if not self._published:
            _remove(self._file, self.path)
        os.close(self._file)
        self._file = None


def publish_bytes(path: Path, data: bytes) -> None:
    """Write a whole file that takes its name when it is complete; see `Partial`.

    Raises:
        OutputError: The file cannot be written, or another process is writing it.
    """
    partial = Partial(path)
    try:
        with output_errors(path):
            partial.write(data)
        partial.publish()
    finally:
        partial.discard()


def append_text(path: Path, text: str) -> None:
    """Add text to the end of a log; a link in its place is not followed.

    Raises:
        OutputError: The file cannot be written, or is a link.
    """
    with output_errors(path), open_unfollowed(path) as file:
        file.seek(0, os.SEEK_END)
        file.write(text.encode())


def open_unfollowed(path: Path) -> BinaryIO:
    """A file to read and write, made where there is none; raises OSError for a link or a pipe."""
    file = os.open(path, os.O_CREAT | os.O_RDWR | _NO_FOLLOW | _NO_WAIT, 0o666)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError("it is no regular file")
    return os.fdopen(file, "r+b")


def hidden_name(target: Path) -> str:
    """An unpredictable name of a temporary file for a target, such as .0123456789abcdef.b.mp4."""
    return f".{secrets.token_hex(_RANDOM_BYTES)}{_ending(target)}"


def write_hidden(target: Path, data: bytes) -> Path:
    """Write a new temporary file beside a target, whole or not at all; raises OSError."""
    path = target.with_name(hidden_name(target))
    file = _create(path)
    try:
        write_all(file, data)
    except BaseException:
        _remove(file, path)
        raise
    finally:
        os.close(file)
    return path


def write_all(file: int, data: bytes) -> None:
    """Write bytes to a descriptor; raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _create(path: Path) -> int:
    """A descriptor of a new file; raises OSError where anything has its name, links included."""
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | _NO_FOLLOW, 0o666)


def _made(target: Path) -> tuple[Path, int]:
    """Name and descriptor of a new locked file; what a killed run has left is removed."""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(secrets.randbelow(50) / 1000)  # two that begin at once give way in turn
        path = target.parent / hidden_name(target)
        file = _create(path)
        try:
            if _lock(file) and _same(file, path) and _sweep(target, path):
                return path, file
        except BaseException:
            _remove(file, path)
            os.close(file)
            raise
        _remove(file, path)
        os.close(file)
    raise OutputError(f"{quoted(target)} is being written by another process; wait for it")


def _sweep(target: Path, own: Path) -> bool:
    """Remove temporary files of a target that nobody writes; False where somebody does."""
    ending, free = _ending(target), True
    for path in list(target.parent.iterdir()):
        stem = path.name.removesuffix(ending)
        if path == own or stem == path.name or not _HIDDEN.fullmatch(stem):
            continue
        try:
            file = os.open(path, os.O_RDWR | _NO_FOLLOW | _NO_WAIT)
        except OSError:
            continue  # a link, a pipe, somebody else's, or gone by now
        try:
            if stat.S_ISREG(os.fstat(file).st_mode):
                if not _lock(file):
                    free = False
                else:
                    _remove(file, path)
        finally:
            os.close(file)
    return free


def _ending(target: Path) -> str:
    """How the names of a target's temporary files end; short enough for any file system."""
    name = target.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return f".{name}.partial"


def _same(file: int, path: Path) -> bool:
    """True if an open file is still the one that has a name."""
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except OSError:
        return False


def _remove(file: int, path: Path) -> None:
    if _same(file, path):
        with contextlib.suppress(OSError):
            path.unlink()


def _address(file: int, path: Path) -> Path:
    address = Path(f"/proc/self/fd/{file}")
    return address if _same_target(address, path) else path


def _same_target(address: Path, path: Path) -> bool:
    try:
        return os.path.samestat(address.stat(), path.lstat())
    except OSError:
        return False


def _lock(file: int) -> bool:
    """False where another process holds the file; True too where locks are unknown."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        log.debug("no file locks here")
    return True
