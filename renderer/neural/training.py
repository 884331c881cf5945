"""Course: the training of one actor's renderer, from the first clip to the last checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ned.core.errors import InputError, NedError, quoted
from ned.core.files.partial import output_errors
from ned.core.files.records import write_atomically
from ned.core.progress import SILENT, Progress
from renderer.neural import checkpoints
from renderer.neural.dataset import Faces, sequences
from renderer.neural.inference import NeuralRenderer
from renderer.neural.networks import HISTORY
from renderer.neural.processes import Processes
from renderer.neural.settings import STEP, TrainingSettings
from renderer.neural.trainer import Chunk, Trainer, as_conditioning, as_picture
from renderer.training_page import Look, TrainingPage

NUMBERED = 10  # epochs between checkpoints that keep their number
_SAVE_SECONDS = 600.0  # between states, so that little is lost
_LOOK_SECONDS = 60.0  # at least, between looks at held-out frames; epochs may be short
_LOOKED = 12  # held-out frames that are drawn after an epoch
FEWEST = STEP + HISTORY  # frames of a sequence

log = logging.getLogger(__name__)


class Interrupted(NedError):
    """Training was stopped by the user; it can go on."""


@dataclass
class Position:
    """Where in the course: epoch from 1, clips and chunks of it that are done, steps in all."""

    epoch: int = 1
    clip: int = 0
    chunk: int = 0
    step: int = 0
    best: float = -np.inf
    waited: int = 0
    history: Tensor | None = field(default=None, repr=False)


class Course:
    """Trains on some frames of an actor and looks at others."""

    def __init__(
        self,
        faces: Faces,
        folder: Path,
        settings: TrainingSettings,
        device: torch.device,
        short: bool,
        perceptual: nn.Module | None = None,
        processes: Processes | None = None,
    ) -> None:
        """Divide the frames.

        Args:
            processes: that train together; the first one writes.

        Raises:
            InputError: There are too few.
        """
        self.processes = processes or Processes()
        self.faces, self.folder, self.settings = faces, folder, settings
        self.training, self.held_out = divided(faces, settings.held_out)
        self.trainer = Trainer(settings, device, short, perceptual, self.processes)
        self.position = Position()
        self._clips = settings.batch  # side by side at the moment, in all processes

    def resume(self) -> bool:
        """Go on from the folder's state, if there is one; raises InputError."""
        state = checkpoints.load_state(self.folder, self.settings)
        if state is None:
            return False
        try:
            self.trainer.restore(state["trainer"])
            self.position = Position(**state["position"])
            history = self.position.history
            if history is not None:
                mine = self.processes.share(len(history))
                self.position.history = history[mine].to(self.trainer.device)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{quoted(self.folder / checkpoints.STATE)} does not fit ({str(error)[:80]}); "
                "give --restart to begin anew, or another folder"
            ) from error
        return True

    def begin(self) -> None:
        """Forget what was logged after the step that the course is at."""
        path, step = self.folder / "loss_log.txt", self.position.step
        if self.processes.first and path.is_file():
            lines = path.read_text().splitlines(keepends=True)
            kept = [line for line in lines if int(line.split()[3]) <= step]
            write_atomically(path, "".join(kept).encode())

    def run(self, minutes: float | None = None, progress: Progress = SILENT) -> str:
        """Train until the epochs, the minutes, or the patience are used up; returns which.

        Raises:
            Interrupted: The user stopped it; everything is saved.
            OutputError: A checkpoint cannot be written; the one before is kept.
        """
        position, settings = self.position, self.settings
        ends = time.monotonic() + 60 * minutes if minutes is not None else np.inf
        saved = looked = time.monotonic()
        clips = -(-len(self.training) // settings.batch)
        planned = sum(
            clips * settings.batch * min(settings.clip_length(epoch), self._longest)
            for epoch in range(position.epoch, settings.epochs + 1)
        )
        with stop_asked() as asked, progress.stage("training", planned) as step:
            while position.epoch <= settings.epochs:
                for losses in self._epoch():
                    self._log(losses)
                    step(settings.batch * STEP)
                    now = time.monotonic()
                    stopped, late = self.processes.any(asked()), self.processes.told(now > ends)
                    if stopped or late:
                        self.save(checkpoints.LATEST)
                        if stopped:
                            raise Interrupted(
                                f"interrupted after step {position.step}; everything is saved in "
                                f"{quoted(self.folder)}, the same command goes on"
                            )
                        if self.held_out and self.processes.first:
                            self._page.add(self._look(position.epoch))
                        return "time is up"
                    if self.processes.told(now - saved > _SAVE_SECONDS):
                        self.save(checkpoints.LATEST)
                        saved = time.monotonic()
                finished = position.epoch
                position.epoch, position.clip = finished + 1, 0
                numbered = finished % NUMBERED == 0 or finished == settings.epochs
                if self.processes.told(not numbered and time.monotonic() - looked < _LOOK_SECONDS):
                    continue
                if self._finish_epoch(finished):
                    return "held-out frames have stopped gaining"
                saved = looked = time.monotonic()
        return "all epochs are done"

    def save(self, *epochs: str) -> None:
        """Write checkpoints of these names and the state; raises OutputError."""
        position = {f.name: getattr(self.position, f.name) for f in dataclasses.fields(Position)}
        if self.position.history is not None:
            position["history"] = self.processes.whole(self.position.history, self._clips)
        if not self.processes.first:
            return
        checkpoints.save_networks(self.folder, epochs, self.trainer)
        state = {"trainer": self.trainer.state(), "position": position}
        checkpoints.save_state(self.folder, self.settings, state)
        with output_errors(self.folder / "iter.txt"):
            where = f"{self.position.epoch},{self.position.step}\n"
            (self.folder / "iter.txt").write_text(where)

    @property
    def _longest(self) -> int:
        return min(len(sequence) for sequence in self.training) - HISTORY

    def _epoch(self) -> Iterator[dict[str, float]]:
        """Losses of every step of the epoch's rest; the position is moved before each."""
        position, settings = self.position, self.settings
        order = np.random.default_rng([settings.seed, position.epoch]).permutation(
            len(self.training)
        )
        groups = [order[k : k + settings.batch] for k in range(0, len(order), settings.batch)]
        for clip in range(position.clip, len(groups)):
            self._clips = len(groups[clip])
            chunks = self._chunks(groups[clip], clip)
            for number, chunk in enumerate(chunks):
                if number < position.chunk:
                    continue
                outcome = self.trainer.step(chunk, position.history, self._clips)
                position.history = outcome.last
                position.chunk, position.step = number + 1, position.step + 1
                if number + 1 == len(chunks):
                    position.clip, position.chunk, position.history = clip + 1, 0, None
                yield outcome.losses

    def _chunks(self, group: NDArray[np.int64], clip: int) -> list[Chunk]:
        """A clip from each sequence of a group that is this process's share, as chunks.

        They are the same whenever they are asked for, however many processes there are.
        """
        settings, faces = self.settings, self.faces
        chosen = [self.training[k] for k in group]
        shortest = min(len(sequence) for sequence in chosen) - HISTORY
        drawn = min(settings.clip_length(self.position.epoch), shortest)
        conditioning, pictures = [], []
        centres: dict[str, list[Any]] = {"mouth": [], "eyes": []}
        for row in self.processes.share(len(chosen)):
            sequence = chosen[row]
            random = np.random.default_rng([settings.seed, self.position.epoch, clip, 1, row])
            start = int(random.integers(0, len(sequence) - HISTORY - drawn + 1))
            frames = sequence[start : start + drawn + HISTORY]
            conditioning.append(np.stack([faces.conditioning(frame, random) for frame in frames]))
            pictures.append(np.stack([faces.face(frame) for frame in frames]))
            centres["mouth"].append([faces.mouth(frame) for frame in frames])
            centres["eyes"].append([faces.between_eyes(frame) for frame in frames])
        device = self.trainer.device
        whole = Chunk(
            as_conditioning(torch.from_numpy(np.stack(conditioning)).to(device)),
            as_picture(torch.from_numpy(np.stack(pictures)).to(device)),
            {name: torch.from_numpy(np.array(values)) for name, values in centres.items()},
        )
        return [_part(whole, k, k + STEP) for k in range(0, drawn, STEP)]

    def _finish_epoch(self, finished: int) -> bool:
        """Look at held-out frames, save; True if it is time to stop."""
        position, settings = self.position, self.settings
        names = [checkpoints.LATEST]
        if finished % NUMBERED == 0:
            names.append(str(finished))
        if self.held_out and self.processes.first:
            look = self._look(finished)
            self._page.add(look)
            position.waited += 1
            if look.psnr > position.best:
                position.best, position.waited = look.psnr, 0
                names.append(checkpoints.BEST)
        self.save(*names)
        stop = bool(self.held_out) and 0 < settings.patience <= position.waited
        return self.processes.told(stop)

    def _look(self, epoch: int) -> Look:
        """Draw some held-out frames and compare."""
        run = max(self.faces.runs(self.held_out), key=len)
        first = max(0, (len(run) - _LOOKED) // 2)
        frames = run[first : first + _LOOKED]
        renderer = NeuralRenderer(self.trainer.generator, self.trainer.device, self.trainer.short)
        seen = [self.faces.conditioning(frame) for frame in frames]
        made = list(renderer.render(seen))
        filmed = [np.moveaxis(self.faces.face(frame), 0, 2) for frame in frames]
        psnr = inside_psnr(made, filmed, [one[-1] > 0 for one in seen])
        return Look(epoch, self.position.step, psnr, frames, seen, made, filmed)

    @property
    def _page(self) -> TrainingPage:
        return TrainingPage(self.folder / "web")

    def _log(self, losses: dict[str, float]) -> None:
        values = " ".join(f"{name} {value:.5f}" for name, value in losses.items())
        path = self.folder / "loss_log.txt"
        if self.processes.first:
            with output_errors(path), path.open("a") as file:
                file.write(f"epoch {self.position.epoch} step {self.position.step} {values}\n")
        bad = [name for name, value in losses.items() if not np.isfinite(value)]
        if bad:
            raise InputError(
                f"the loss {bad[0]!r} is no number after step {self.position.step}; give a smaller "
                "--rate; the last checkpoint is kept"
            )
        if self.processes.first:
            scalars(self.folder, losses, self.position.step)


def divided(faces: Faces, share: float) -> tuple[list[list[int]], list[int]]:
    """Sequences to train on, and the frames at the end that are held out.

    Raises:
        InputError: There are too few frames.
    """
    frames = faces.frames
    count = len(frames) - int(share * len(frames))
    found = [one for one in sequences(faces.runs(frames[:count])) if len(one) >= FEWEST]
    if not found:
        needed = next(n for n in range(FEWEST, 100) if n - int(share * n) >= FEWEST)
        raise InputError(
            f"there are {len(frames)} frames to train on; {needed} or more that follow each other "
            "are needed, and a minute of footage (1500) for a good likeness"
        )
    held_out = frames[count:]
    return found, held_out if len(held_out) >= HISTORY else []


def scalars(folder: Path, losses: dict[str, float], step: int) -> None:
    """Tell tensorboard of losses, where tensorboardX is installed."""
    try:
        from tensorboardX import SummaryWriter  # type: ignore[import-not-found]
    except ImportError:
        return
    writer = _WRITERS.get(folder)
    if writer is None:
        writer = _WRITERS[folder] = SummaryWriter(str(folder / "scalars"))
    for name, value in losses.items():
        writer.add_scalar(name, value, step)


_WRITERS: dict[Path, Any] = {}


def _part(whole: Chunk, start: int, stop: int) -> Chunk:
    rows = slice(start, stop + HISTORY)
    centres = {name: values[:, rows] for name, values in whole.centres.items()}
    return Chunk(whole.conditioning[:, rows], whole.faces[:, rows], centres)


@contextlib.contextmanager
def stop_asked() -> Iterator[Callable[[], bool]]:
    """A question whether the user has asked to stop; asked twice it stops at once."""
    pending: list[int] = []

    def note(number: int, _: Any) -> None:
        if pending:
            raise KeyboardInterrupt
        pending.append(number)
        log.info("stopping after this step")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {one: signal.signal(one, note) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(pending)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def inside_psnr(
    made: Sequence[NDArray[np.uint8]],
    filmed: Sequence[NDArray[np.uint8]],
    masks: Sequence[NDArray[np.bool_]],
) -> float:
    """Peak signal-to-noise ratio in dB of all frames' pixels inside their masks together."""
    total, count = 1e-9, 1
    for one, other, mask in zip(made, filmed, masks, strict=True):
        apart = one[mask].astype(np.float64) - other[mask]
        total, count = total + float((apart * apart).sum()), count + apart.size
    return float(10 * np.log10(255.0**2 * count / total))
