"""Files of single frames, PNG and text, written in threads; each appears whole."""

from __future__ import annotations

import io
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.errors import InputError, quoted
from ned.core.files.records import write_atomically

_COMPRESSION = 1  # of PNG, 0 to 9; more costs far more time than it saves space
_MOST_BYTES, _MOST_FILES = 1 << 27, 512  # handed over but not written yet


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """A PNG file's bytes of an (H, W, 3) RGB or (H, W) grey image."""
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION])
    if not done:
        raise ValueError(f"an image of {image.shape} {image.dtype} cannot be a PNG file")
    return data.tobytes()


def encode_numbers(values: NDArray[Any]) -> bytes:
    """A text file's bytes of (N, M) numbers, as numpy.savetxt writes them."""
    lines = (" ".join("%.18e" % value for value in row) for row in values.tolist())  # noqa: UP031
    return ("\n".join(lines) + "\n").encode()


def read_numbers(path: Path, columns: int, rows: int | None = None) -> NDArray[np.float64]:
    """(N, columns) numbers of a text file.

    Raises:
        InputError: There is no such file, or it holds something else.
    """
    try:
        values = np.loadtxt(io.StringIO(path.read_text()), ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(f"{quoted(path)} cannot be read; preprocess the actor again") from error
    if values.shape[1] != columns or (rows is not None and len(values) != rows):
        wanted = f"{rows or 'any number of'} rows of {columns} numbers"
        raise InputError(f"{quoted(path)} holds {values.shape} numbers, {wanted} are needed")
    return values


class FileWriter:
    """Encodes and writes files in threads; use as a context manager.

    Whoever hands over more than is written waits, so that memory stays small. The first failure is
    raised by a later call, or at the end; files are whole or absent.
    """

    def __init__(self, threads: int = 2) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="write")
        self._waiting: deque[tuple[Future[None], int]] = deque()
        self._bytes = 0
        self._lock = threading.Lock()

    def png(self, path: Path, image: NDArray[np.uint8]) -> None:
        """Write an image, see `encode_png`; it must not be changed afterwards."""
        self._submit(path, encode_png, image)

    def numbers(self, path: Path, values: NDArray[Any]) -> None:
        """Write numbers, see `encode_numbers`; they must not be changed afterwards."""
        self._submit(path, encode_numbers, values)

    def finish(self) -> None:
        """Wait until everything is written; raises OutputError."""
        while self._wait(0, 0):
            pass

    def _submit(self, path: Path, encode: Any, values: NDArray[Any]) -> None:
        future = self._pool.submit(_write, path, encode, values)
        with self._lock:
            self._waiting.append((future, values.nbytes))
            self._bytes += values.nbytes
        while self._wait(_MOST_BYTES, _MOST_FILES):
            pass

    def _wait(self, most_bytes: int, most_files: int) -> bool:
        """Wait for the oldest file if more than so much waits; False if that was not needed."""
        with self._lock:
            if self._bytes <= most_bytes and len(self._waiting) <= most_files:
                return False
            future, size = self._waiting.popleft()
            self._bytes -= size
        future.result()
        return True

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)


def _write(path: Path, encode: Any, values: NDArray[Any]) -> None:
    write_atomically(path, encode(values))
