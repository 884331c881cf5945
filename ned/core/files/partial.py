"""Partial: a file that takes its name only when it is complete."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from av.error import FFmpegError

from ned.core.errors import OutputError, quoted, reason

log = logging.getLogger(__name__)


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
    """A file under a hidden name until it is complete; one process at a time."""

    def __init__(self, target: Path) -> None:
        self.target = target
        name = f".{target.name}.partial"
        if len(os.fsencode(name)) > 255:
            name = f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:32]}.partial"
        self.path = target.parent / name
        self._published = False
        with output_errors(target):
            self._file: int | None = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o666)
        if not _lock(self._file):
            os.close(self._file)
            raise OutputError(f"{quoted(target)} is being written by another process; wait for it")

    def publish(self) -> None:
        """Give the complete file its name.

        Raises:
            OutputError: The disk does not take the rest of the data, or the name.
        """
        assert self._file is not None
        with output_errors(self.target):
            os.fsync(self._file)
            self.path.replace(self.target)
        self._published = True

    def discard(self) -> None:
        """Remove the file unless it is published; a second call does nothing."""
        if self._file is None:
            return
        if not self._published:
            with contextlib.suppress(OSError):
                self.path.unlink()
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
            partial.path.write_bytes(data)
        partial.publish()
    finally:
        partial.discard()


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
