"""Ahead: items of an iterator made in a thread while the previous ones are worked on."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from queue import Empty, Full, Queue
from typing import TypeVar

Item = TypeVar("Item")
_DONE = object()
_PATIENCE = 0.1  # seconds between two looks at whether anybody still listens


def ahead(items: Iterable[Item], depth: int = 4) -> Iterator[Item]:
    """Yield the items in order, up to `depth` of them made in advance.

    An exception of the iterator is raised here, after the items before it. When the consumer
    stops early, the thread ends after the item it is working on.
    """
    queue: Queue[object] = Queue(depth)
    stopped = threading.Event()
    failures: list[BaseException] = []

    def put(item: object) -> bool:
        while not stopped.is_set():
            try:
                queue.put(item, timeout=_PATIENCE)
            except Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as failure:  # noqa: BLE001 - handed to the consumer
            failures.append(failure)
        put(_DONE)

    worker = threading.Thread(target=work, name="read ahead", daemon=True)
    worker.start()
    try:
        while True:
            try:
                item = queue.get(timeout=_PATIENCE)
            except Empty:
                continue  # so that an interrupt is noticed on every platform
            if item is _DONE:
                break
            yield item  # type: ignore[misc]
        if failures:
            raise failures[0]
    finally:
        stopped.set()
        worker.join()
