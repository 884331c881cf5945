"""Progress of long work, reported through one hook: a bar on a terminal, else silence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Step = Callable[[int], None]


class Progress(Protocol):
    """A hook: pipeline stages report to it and never draw.

    Hooks of your own may derive from `SilentProgress` and take over what they want.
    """

    def stage(self, name: str, total: int | None) -> AbstractContextManager[Step]:
        """Open a stage of `total` frames (None if unknown); the yielded function advances it."""
        ...

    def artefact(self, name: str, value: object) -> None:
        """Be given what a stage made, such as "track", "performance", "directed" or "film"."""
        ...


class SilentProgress:
    """The default hook: does nothing."""

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Step]:
        yield lambda amount: None

    def artefact(self, name: str, value: object) -> None:
        """Nobody wants it."""


class TerminalProgress(SilentProgress):
    """One rich bar per stage with frames per second and time left, drawn on standard error."""

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Step]:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description:>12}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} frames"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bars:
            task = bars.add_task(name, total=total, rate="")

            def step(amount: int) -> None:
                bars.update(task, advance=amount)
                speed = bars.tasks[0].speed
                bars.update(task, rate=f"{speed:5.1f} fps" if speed else "")

            yield step


SILENT = SilentProgress()
