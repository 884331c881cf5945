"""Training of one actor's hybrid renderer, which takes minutes and can go on later."""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from deca.rig import Rig
from ned.core.errors import InputError, quoted
from ned.core.files.checkpoint import load_weights
from ned.core.files.partial import append_text
from ned.core.progress import SILENT, Progress
from ned.core.training_loop import Pace, StepDone, training_loop
from renderer.hybrid.examples import Batch, Examples
from renderer.hybrid.footage import Footage
from renderer.hybrid.memory import Memory
from renderer.hybrid.network import HybridNetwork, HybridShape, save_network
from renderer.hybrid.reenactment import Reenacted, reenact, sources
from renderer.hybrid.renderer import MEMORY, NETWORK, HybridRenderer
from renderer.neural.checkpoints import save_tensors
from renderer.neural.training import inside_psnr
from renderer.training_page import HeldOutSample, TrainingPage

STATE = "training_state.pth"

_FORMAT = "ned-hybrid-training-1"
_WARM = 50  # steps over which the rate rises
_MOUTH = 4.0  # weight of the mouth above that of the face
_SCALES = 3  # of gradients that are compared
_TEXTURE, _PATCH = 1.0, 8  # weight of texture, and the side of its patches in pixels
_LIMIT = 1.0  # norm of gradients
_SAVE_SECONDS = 300.0  # between states, so that little is lost
_MEASURED = 32  # held-out frames that are drawn when it is measured


@dataclass(frozen=True)
class HybridSettings:
    """How to train.

    Attributes:
        shape: of the network. batch: examples per step. rate: Adam's highest learning rate.
        average: share of the averaged weights that stays at a step.
        held_out: share of every take, at its end, that is not trained on. seed: of everything.
    """

    shape: HybridShape = field(default_factory=HybridShape)
    batch: int = 4
    rate: float = 4e-4
    average: float = 0.99
    held_out: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every range; raises InputError."""
        if self.batch < 1:
            raise InputError(f"batch is {self.batch}, give 1 or more")
        if not 0 < self.rate < 1:
            raise InputError(f"rate is {self.rate}, give a learning rate such as 4e-4")
        if not 0 <= self.held_out <= 0.9:
            raise InputError(f"held-out is {self.held_out}, give a share from 0 to 0.9")


class HybridTraining:
    """Trains on the first part of the footage and measures the rest.

    Attributes:
        footage, held_out: what is learnt from, and what is not.
        averaged: the network with the mean of its recent weights.
        best: those of them that drew held-out frames best, which is what is saved, and how well.
        step: how many are done. seconds: that they took, over all runs.
    """

    def __init__(
        self,
        footage: Footage,
        rig: Rig,
        folder: Path,
        settings: HybridSettings,
        device: torch.device,
        short: bool,
        record: dict[str, Any],
    ) -> None:
        """Begin with first weights; `record` is what the model's file shall tell beside them."""
        self.folder, self.settings, self.device, self.short = folder, settings, device, short
        self.footage, self.held_out = footage.divided(settings.held_out)
        self.examples = Examples(self.footage, rig, settings.seed)
        self.step, self.seconds = 0, 0.0
        self._record = record
        torch.manual_seed(settings.seed)
        self._network = HybridNetwork(settings.shape).to(device)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self._network).requires_grad_(False)
        self.best: tuple[float, HybridNetwork] | None = None
        self._optimiser = torch.optim.Adam(
            self._network.parameters(), settings.rate, betas=(0.9, 0.98), fused=True
        )

    @property
    def memory(self) -> Memory:
        """What is remembered of the footage that is learnt from."""
        return self.examples.memory

    def resume(self) -> bool:
        """Go on from the folder's state, if there is one; raises InputError."""
        path = self.folder / STATE
        if not path.exists():
            return False
        advice = "give --restart to begin anew, or another folder"
        try:
            state = load_weights(path)
            if state.get("format") != _FORMAT:
                raise InputError(f"{quoted(path)} is not a state of this trainer; {advice}")
            if state["settings"] != self._key:
                raise InputError(
                    f"{quoted(self.folder)} was begun with other settings or footage; {advice}"
                )
            self._network.load_state_dict(state["network"])
            self.averaged.load_state_dict(state["averaged"])
            self._optimiser.load_state_dict(state["optimiser"])
            if state["best"] is not None:
                network = copy.deepcopy(self.averaged)
                network.load_state_dict(state["best"])
                self.best = float(state["score"]), network
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{quoted(path)} does not fit ({str(error)[:80]}); {advice}"
            ) from error
        return True

    def run(self, minutes: float, steps: int | None, progress: Progress = SILENT) -> str:
        """Train until the minutes (over all runs) or the steps are used up; returns which.

        The learning rate falls to nothing by then, whichever comes first.

        Raises:
            Interrupted: The user stopped it; everything is saved.
            OutputError: A file cannot be written; the one before is kept.
        """
        planned = max(0, round(60 * minutes) - round(self.seconds))
        with ThreadPoolExecutor(1) as pool:
            training_loop(
                self._steps(pool, minutes, steps),
                planned,
                folder=self.folder,
                save=self.save,
                measure=self.measure,
                pace=Pace(between_saves=_SAVE_SECONDS),
                progress=progress,
            )
        return "all steps are done" if steps and self.step >= steps else "time is up"

    def save(self) -> None:
        """Write model and state; raises OutputError."""
        record = {**self._record, "steps": self.step, "seconds": round(self.seconds)}
        self.memory.save(self.folder / MEMORY)
        drawing = self.averaged if self.best is None else self.best[1]
        save_network(drawing, self.folder / NETWORK, record)
        state = {
            "format": _FORMAT,
            "settings": self._key,
            "network": self._network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "best": None if self.best is None else self.best[1].state_dict(),
            "score": None if self.best is None else self.best[0],
            "step": self.step,
            "seconds": self.seconds,
        }
        save_tensors(self.folder / STATE, state)

    def measure(self) -> bool:
        """Draw held-out frames with the averaged weights; keep these if they never were better.

        Returns:
            False: the time ends this training, not held-out frames.
        """
        if len(self.held_out) < 2:
            return False
        rows = np.unique(np.linspace(0, len(self.held_out) - 1, _MEASURED).round().astype(int))
        drawn = list(self.reenacted(rows, self.averaged))
        psnr = _psnr(drawn)
        score = (psnr + _psnr(drawn, mouth=True)) / 2
        if self.best is None or score > self.best[0]:
            self.best = score, copy.deepcopy(self.averaged)
        page = TrainingPage(self.folder / "web", "a hybrid renderer", "the warped face")
        page.add(
            HeldOutSample(
                epoch=round(self.seconds / 60),
                step=self.step,
                psnr=psnr,
                frames=[int(self.held_out.frame[one.target]) for one in drawn],
                conditioning=[np.moveaxis(one.warped, 2, 0) for one in drawn],
                made=[one.drawn for one in drawn],
                filmed=[one.filmed for one in drawn],
            )
        )
        return False

    def reenacted(
        self, rows: NDArray[np.int64], network: HybridNetwork | None = None
    ) -> Iterator[Reenacted]:
        """Held-out frames (rows of `held_out`) drawn from others; by the best network if None."""
        network = network or (self.averaged if self.best is None else self.best[1])
        renderer = HybridRenderer(copy.deepcopy(network), self.memory, self.device, self.short)
        others = sources(self.held_out, rows, self.settings.seed)
        return reenact(self.held_out, rows, others, self.memory, renderer)

    @property
    def _key(self) -> str:
        """What a state must have been begun with to fit."""
        known = {
            "settings": dataclasses.asdict(self.settings),
            "frames": len(self.footage),
            "landmarks": float(np.abs(self.footage.landmarks).mean()),
        }
        return json.dumps(known, sort_keys=True)

    def _steps(
        self, pool: ThreadPoolExecutor, minutes: float, steps: int | None
    ) -> Iterator[StepDone]:
        """Every step that is left; amounts are seconds."""
        planned, batches = round(60 * minutes), self._batches(pool)
        told = min(planned, round(self.seconds))
        while True:
            share = max(self.seconds / (60 * minutes), self.step / steps if steps else 0.0)
            if share >= 1:
                break
            began = time.monotonic()
            self._learn(next(batches), share)
            self.seconds += time.monotonic() - began
            before, told = told, min(planned, round(self.seconds))
            yield StepDone(self.step, told - before, "if time")
        yield StepDone(self.step, 0, "now")

    def _batches(self, pool: ThreadPoolExecutor) -> Iterator[Batch]:
        """Batches from the current step on; the next is made while one is learnt from."""
        step, size = self.step, self.settings.batch
        waiting: Future[Batch] = pool.submit(self.examples.batch, step, size)
        while True:
            step += 1
            ready, waiting = waiting, pool.submit(self.examples.batch, step, size)
            yield ready.result()

    def _learn(self, batch: Batch, share: float) -> None:
        """One step; `share` of the training is over."""
        rate = self.settings.rate * min(1.0, (self.step + 1) / _WARM) * (1 - share) ** 0.7
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        seen, wanted, mouth = (
            torch.from_numpy(part).to(self.device)
            for part in (batch.seen, batch.wanted, batch.mouth)
        )
        seen = seen.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.short):
            made = self._network(seen)
        weight = seen[:, 7:8] * (1 + _MOUTH * mouth)
        loss = detail_loss(made, wanted, weight)
        if not torch.isfinite(loss):
            raise InputError(
                f"the loss is no number after step {self.step}; give a smaller --rate; the last "
                "model is kept"
            )
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), _LIMIT)
        self._optimiser.step()
        stays = min(self.settings.average, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for mean, now in zip(
                self.averaged.parameters(), self._network.parameters(), strict=True
            ):
                mean.lerp_(now, 1 - stays)
        self.step += 1
        self._log(float(loss.detach()))

    def _log(self, loss: float) -> None:
        path = self.folder / "loss_log.txt"
        append_text(path, f"step {self.step} seconds {self.seconds:.1f} loss {loss:.5f}\n")


def detail_loss(made: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean difference of pictures (B, 3, H, W), of their gradients, and of their texture.

    Gradients at three scales count as much as levels: a blurred edge costs twice what a slightly
    wrong level does. Texture is the mean size of gradients over patches: where details cannot be
    foretold, mean differences alone favour blur, and this makes it as dear as wrong detail.

    Args:
        weight: (B, 1, H, W), not negative.
    """
    total = _mean((made - wanted).abs(), weight)
    for scale in range(_SCALES):
        for axis in (2, 3):
            length = made.shape[axis] - 1
            one, other = made.diff(dim=axis), wanted.diff(dim=axis)
            inside = weight.narrow(axis, 0, length)
            share = 1.0 if scale == 0 else 0.5
            total = total + share * _mean((one - other).abs(), inside)
            if scale == 0:
                patches = (functional.avg_pool2d(part.abs(), _PATCH) for part in (one, other))
                apart = torch.sub(*patches).abs()
                total = total + _TEXTURE * _mean(apart, functional.avg_pool2d(inside, _PATCH))
        if scale < _SCALES - 1:
            made, wanted, weight = (
                functional.avg_pool2d(part, 2) for part in (made, wanted, weight)
            )
    return total


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / (weight.sum() * values.shape[1]).clamp_min(1e-6)


def _psnr(drawn: list[Reenacted], mouth: bool = False) -> float:
    """Inside the faces, in dB; or only within a seventh of the side around the mouths."""
    masks = [one.mask & _near_mouth(one) if mouth else one.mask for one in drawn]
    return inside_psnr([one.drawn for one in drawn], [one.filmed for one in drawn], masks)


def _near_mouth(one: Reenacted) -> NDArray[np.bool_]:
    size = len(one.mask)
    rows, columns = np.mgrid[:size, :size]
    return np.maximum(abs(columns - one.mouth[0]), abs(rows - one.mouth[1])) < size / 7
