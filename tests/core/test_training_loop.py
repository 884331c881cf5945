"""The loop of every training: when it saves, measures and ends, and that it can be stopped."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ned.core import training_loop as loop
from ned.core.training_loop import Ending, Interrupted, Pace, StepDone, training_loop


class Told:
    """What a training of `count` steps in epochs of four is asked for, and when."""

    def __init__(self, count: int, gains: int = 99, stop_at: int = 0) -> None:
        self.count, self.gains, self.stop_at = count, gains, stop_at
        self.step, self.did = 0, []

    def steps(self) -> Iterator[StepDone]:
        while self.step < self.count:
            self.step += 1
            if self.step == self.stop_at:
                signal.raise_signal(signal.SIGINT)
            yield StepDone(self.step)
            if self.step % 4 == 0:
                yield StepDone(self.step, 0, "now" if self.step % 8 == 0 else "if time")

    def save(self) -> None:
        self.did.append(f"save {self.step}")

    def measure(self) -> bool:
        self.did.append(f"measure {self.step}")
        self.gains -= 1
        return self.gains < 0

    def run(self, folder: Path, pace: Pace | None = None) -> Ending:
        return training_loop(
            self.steps(),
            self.count,
            folder=folder,
            save=self.save,
            measure=self.measure,
            pace=pace or Pace(),
        )


def a_second_each(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(told.step))


def test_it_measures_and_saves_where_the_training_says(tmp_path: Path) -> None:
    told = Told(10)
    assert told.run(tmp_path) is Ending.STEPS
    assert told.did == ["measure 8", "save 8"]  # too little time for that after four


def test_time_says_when_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(7)
    a_second_each(told, monkeypatch)
    assert told.run(tmp_path, Pace(between_saves=2, between_measures=3)) is Ending.STEPS
    assert told.did == ["save 3", "measure 4", "save 4", "save 7"]
    late = Told(7)
    a_second_each(late, monkeypatch)
    assert late.run(tmp_path, Pace(limit=1.5)) is Ending.TIME
    assert late.did == ["measure 2", "save 2"]


def test_patience_ends_it_saved(tmp_path: Path) -> None:
    told = Told(40, gains=1)
    assert told.run(tmp_path) is Ending.PATIENCE
    assert told.did == ["measure 8", "save 8", "measure 16", "save 16"]


def test_stopped_it_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    told, before = Told(40, stop_at=3), signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match=r"after step 3; everything is saved in .* goes on"):
        told.run(tmp_path)
    assert told.did == ["save 3"]
    assert signal.getsignal(signal.SIGINT) is before


def test_what_cannot_be_saved_ends_at_once() -> None:
    told = Told(40, stop_at=3)
    with pytest.raises(KeyboardInterrupt):
        training_loop(told.steps(), told.count)
    assert told.step == 3
