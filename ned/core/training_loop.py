"""Training loop: steps until they or the time run out; stopped at any moment, it can go on later.

It knows no networks: a training gives it an iterator that does a step each time it is asked, and
functions that save and that measure held-out material.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ned.core.errors import NedError, quoted
from ned.core.processes import ALONE, Processes
from ned.core.progress import SILENT, Progress

log = logging.getLogger(__name__)


class Interrupted(NedError):
    """Training was stopped by the user; it can go on."""


class Ending(enum.Enum):
    """Why a loop ended."""

    STEPS = "all steps are done"
    TIME = "time is up"
    PATIENCE = "held-out frames have stopped gaining"


@dataclass(frozen=True)
class StepDone:
    """What a training tells of itself after a step.

    Attributes:
        number: steps that are done, over all runs. amount: of what is planned that it did.
        measure: whether held-out material may be measured now: "no", "if time" has passed since it
            last was, or "now".
    """

    number: int
    amount: int = 1
    measure: Literal["no", "if time", "now"] = "no"


@dataclass(frozen=True)
class Pace:
    """When things happen besides steps.

    Attributes:
        limit: seconds that this run may take. between_saves: seconds after which it is saved, so
            that little is lost. between_measures: seconds, at least, between measurements.
    """

    limit: float = float("inf")
    between_saves: float = float("inf")
    between_measures: float = 60.0


def training_loop(
    steps: Iterable[StepDone],
    planned: int,
    *,
    folder: Path | None = None,
    save: Callable[[], None] | None = None,
    measure: Callable[[], bool] | None = None,
    pace: Pace = Pace(),
    stage: str = "training",
    progress: Progress = SILENT,
    processes: Processes = ALONE,
) -> Ending:
    """Train until the steps, the time, or the patience are used up.

    Args:
        steps: does a step each time it is asked for the next.
        planned: sum of the steps' amounts. stage: what progress is told they are.
        folder: where `save` keeps everything that is needed to go on.
        save: called now and then, after every measurement, and when the user stops the training,
            which without it ends at once, as any other work does.
        measure: looks at held-out material; returns True if it has stopped gaining for too long.
        processes: that train together; they stop, save and measure together.

    Raises:
        Interrupted: The user stopped it; everything is saved.
    """
    saved = measured = time.monotonic()
    ends = saved + pace.limit
    with _stop_asked(save is not None) as asked, progress.stage(stage, planned) as advance:
        for done in steps:
            advance(done.amount)
            if save is not None and processes.any(asked()):
                save()
                raise Interrupted(
                    f"interrupted after step {done.number}; everything is saved in "
                    f"{quoted(folder or Path())}, the same command goes on"
                )
            now = time.monotonic()
            waited = now - measured > pace.between_measures
            due = done.measure == "now" or (done.measure == "if time" and waited)
            late, due, unsaved = processes.told((now > ends, due, now - saved > pace.between_saves))
            exhausted = measure() if measure is not None and (due or late) else False
            if save is not None and (due or late or unsaved):
                save()
                saved = time.monotonic()
            if due:
                measured = time.monotonic()
            if late:
                return Ending.TIME
            if exhausted:
                return Ending.PATIENCE
    return Ending.STEPS


@contextlib.contextmanager
def _stop_asked(possible: bool) -> Iterator[Callable[[], bool]]:
    """A question whether the user has asked to stop; asked twice it stops at once."""
    pending: list[int] = []

    def note(number: int, _: Any) -> None:
        if pending:
            raise KeyboardInterrupt
        pending.append(number)
        log.info("stopping after this step")

    if not possible or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {one: signal.signal(one, note) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(pending)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
