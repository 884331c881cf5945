"""Training: epochs of iterations over windows; killed at any moment, it goes on where it was.

Every random number of a run is a function of its seed, epoch and step, so that a state of weights,
optimisers and counters is all that a resumed run needs to equal an unbroken one. With several
processes each takes its share of every batch, and gradients are averaged before each update.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from manipulator.data.windows import Windows
from manipulator.iteration import (
    REPORTED,
    Batch,
    Optimisers,
    make_optimisers,
    measure_step,
    train_step,
)
from manipulator.losses import LossSettings
from manipulator.networks import NETWORKS, Networks
from ned.core.errors import InputError, quoted
from ned.core.files.checkpoint import load_weights
from ned.core.files.records import fingerprint, write_atomically
from ned.core.processes import launch, processes_of
from ned.core.progress import SILENT, Progress
from ned.core.training_loop import StepDone, training_loop

if TYPE_CHECKING:
    from lightning_fabric import Fabric

log = logging.getLogger(__name__)

_VALIDATION = 2048  # windows that are measured after every epoch, at most
_REAL, _REFERENCE, _LATENT = range(3)  # streams of random numbers


@dataclass(frozen=True)
class TrainingSettings:
    """How long and how fast; the defaults are NED's.

    Attributes:
        epochs: how many. decay: over so many last epochs the rate falls in equal steps.
        batch: windows per iteration, of all processes together.
        rate: of Adam, for all networks. betas: of Adam. seed: of everything random.
        losses: weights.
    """

    epochs: int = 10
    decay: int = 10
    batch: int = 64
    rate: float = 1e-4
    betas: tuple[float, float] = (0.0, 0.99)
    seed: int = 777
    losses: LossSettings = field(default_factory=LossSettings)

    def rate_in(self, epoch: int) -> float:
        """The rate of an epoch, counted from 1."""
        late = max(0, epoch - 1 - max(self.epochs - self.decay, 0))
        return self.rate * (1 - late / self.decay) if self.decay else self.rate


@dataclass
class Progressed:
    """How far a run is: `epoch` (from 1) with `step` iterations done in it."""

    epoch: int = 1
    step: int = 0


class Trainer:
    """Trains four networks on windows.

    Attributes:
        networks: change in place. done: how far it is.
    """

    def __init__(
        self,
        networks: Networks,
        training: Windows,
        validation: Windows,
        settings: TrainingSettings,
        fabric: Fabric | None = None,
    ) -> None:
        if not len(training):
            raise InputError(
                f"no clip is as long as a window of {training.length} frames; there is nothing "
                "to learn from"
            )
        self.networks, self.settings = networks, settings
        self.training, self.validation = training, validation
        self.fabric = fabric or launch("cpu", 1)
        self.processes = processes_of(self.fabric)
        self.networks.to(self.fabric.device)
        self.optimisers: Optimisers = make_optimisers(networks, settings.rate, settings.betas)
        self.done = Progressed()

    @property
    def steps(self) -> int:
        """Iterations per epoch."""
        return -(-len(self.training) // self.settings.batch)

    @property
    def identity(self) -> str:
        """Changes with whatever decides the result, but not with devices."""
        return fingerprint(
            settings=dataclasses.asdict(self.settings),
            networks=self.networks.settings.to_dict(),
            windows=len(self.training),
            labels=np.bincount(self.training.labels + 1).tolist(),
            values=float(np.abs(self.training.values.astype(np.float64)).sum()),
            actors=self.training.actors,
        )

    def run(
        self,
        state_file: Path | None = None,
        every: int = 0,
        on_step: Callable[[int, Mapping[str, float]], None] | None = None,
        on_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
        progress: Progress = SILENT,
    ) -> None:
        """Train from where it is to the last epoch.

        Args:
            state_file: where the state is kept after every epoch, and every `every` iterations.
            on_step: told the iteration (of all epochs) and its losses.
            on_epoch: told the epoch and mean losses of validation, before its state is kept.

        Raises:
            Interrupted: The user stopped it; everything is saved (if there is a `state_file`).
        """
        settings = self.settings
        left = (settings.epochs + 1 - self.done.epoch) * self.steps - self.done.step

        def steps() -> Iterator[StepDone]:
            while (epoch := self.done.epoch) <= settings.epochs:
                for batch in self._batches(epoch, self.done.step):
                    size = min(settings.batch, len(self.training) - self.done.step * settings.batch)
                    reported = self._iterate(batch, settings.rate_in(epoch), size)
                    self.done.step += 1
                    number = (epoch - 1) * self.steps + self.done.step
                    if on_step is not None:
                        on_step(number, {name: value.item() for name, value in reported.items()})
                    if every and state_file and self.done.step % every == 0:
                        self.save_state(state_file)
                    yield StepDone(number)
                self.done = Progressed(epoch + 1, 0)
                yield StepDone(epoch * self.steps, 0, "now")

        def measure() -> bool:
            measured = self.validate()
            if on_epoch is not None:
                on_epoch(self.done.epoch - 1, measured)
            return False

        training_loop(
            steps(),
            left,
            folder=state_file and state_file.parent,
            save=state_file and (lambda: self.save_state(state_file)),
            measure=measure,
            progress=progress,
            processes=self.processes,
        )

    def validate(self) -> dict[str, float]:
        """Mean losses on validation windows and fixed noise; empty without any."""
        count = min(len(self.validation), _VALIDATION)
        if not count:
            return {}
        chosen = _stream(self.settings.seed, 0, _REAL).permutation(len(self.validation))[:count]
        other = _stream(self.settings.seed, 0, _REFERENCE).permutation(chosen)
        sums = dict.fromkeys(REPORTED, 0.0)
        for start in range(0, count, self.settings.batch):
            rows = slice(start, start + self.settings.batch)
            latents = _stream(self.settings.seed, 0, _LATENT, start)
            batch = self._batch(self.validation, chosen[rows], other[rows], latents)
            measured = measure_step(self.networks, batch, self.settings.losses)
            for name, value in measured.items():
                sums[name] += value.item() * len(chosen[rows]) / count
        return sums

    def save_state(self, path: Path) -> None:
        """Write all that is needed to go on; raises OutputError."""
        if not self.processes.first:
            return
        import io

        buffer = io.BytesIO()
        state = {
            "identity": self.identity,
            "epoch": self.done.epoch,
            "step": self.done.step,
            "networks": {name: getattr(self.networks, name).state_dict() for name in NETWORKS},
            "optimisers": {name: one.state_dict() for name, one in self.optimisers.items()},
        }
        torch.save(state, buffer)
        write_atomically(path, buffer.getvalue())

    def load_state(self, path: Path) -> None:
        """Go on where a state was kept.

        Raises:
            InputError: It is damaged, or of a run with other data or settings.
        """
        state = load_weights(path)
        if state.get("identity") != self.identity:
            raise InputError(
                f"{quoted(path)} belongs to a training with other data or settings; give the same "
                "ones, another --checkpoints_dir, or --restart to begin anew"
            )
        for name in NETWORKS:
            getattr(self.networks, name).load_state_dict(state["networks"][name])
            self.optimisers[name].load_state_dict(state["optimisers"][name])
        self.done = Progressed(state["epoch"], state["step"])

    def _iterate(self, batch: Batch, rate: float, size: int) -> dict[str, Tensor]:
        """One step; `batch` is this process's share of `size` windows."""
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = rate

        def average(network: torch.nn.Module) -> None:
            gradients = [p.grad for p in network.parameters() if p.grad is not None]
            self.processes.average(gradients, size)

        reported = train_step(
            self.networks,
            self.optimisers,
            batch,
            self.settings.losses,
            self.fabric.autocast,
            average,
        )
        values = self.processes.mean(torch.stack(list(reported.values())), size)
        return dict(zip(reported, values.unbind(), strict=True))

    def _batches(self, epoch: int, first: int) -> Iterator[Batch]:
        seed, count = self.settings.seed, len(self.training)
        real = _stream(seed, epoch, _REAL).permutation(count)
        reference = _stream(seed, epoch, _REFERENCE).permutation(count)
        for step in range(first, self.steps):
            rows = slice(step * self.settings.batch, (step + 1) * self.settings.batch)
            latents = _stream(seed, epoch, _LATENT, step)
            yield self._batch(self.training, real[rows], reference[rows], latents, shared=True)

    def _batch(
        self,
        windows: Windows,
        real: np.ndarray,
        reference: np.ndarray,
        latents: np.random.Generator,
        shared: bool = False,
    ) -> Batch:
        """Windows of those rows; this process's part of them if `shared`."""
        size = (len(real), self.networks.settings.latent)
        latent = latents.standard_normal(size).astype(np.float32)
        mine = self.processes.share(len(real)) if shared else slice(None)
        arrays = (
            windows[real[mine]],
            windows.labels[real[mine]],
            windows[reference[mine]],
            windows.labels[reference[mine]],
            latent[mine],
        )
        batch = Batch(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))
        return batch.to(self.fabric.device)


def _stream(seed: int, epoch: int, stream: int, step: int = 0) -> np.random.Generator:
    """Random numbers of one purpose at one moment."""
    return np.random.default_rng([seed, epoch, stream, step])
