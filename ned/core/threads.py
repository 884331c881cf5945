"""Threads: how many OpenCV uses while rooms use their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_lock = Lock()
_before: list[int] = []  # OpenCV's number of threads at each entry that has not been left


@contextmanager
def single_threaded_opencv() -> Iterator[None]:
    """OpenCV computes in the calling thread only; after the last one left, as before the first.

    It is one number for the whole process, so uses may overlap in any order.
    """
    import cv2

    with _lock:
        _before.append(_before[0] if _before else cv2.getNumThreads())
        cv2.setNumThreads(1)
    try:
        yield
    finally:
        with _lock:
            before = _before.pop()
            if not _before:
                cv2.setNumThreads(before)
