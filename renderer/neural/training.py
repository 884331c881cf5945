"""Training of one actor's neural renderer, from the first clip to the last checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ned.core.errors import InputError, quoted
from ned.core.files.partial import append_text
from ned.core.files.records import write_atomically
from ned.core.processes import ALONE, Processes
from ned.core.progress import SILENT, Progress
from ned.core.training_loop import Ending, Pace, StepDone, training_loop
from renderer.neural import checkpoints
from renderer.neural.dataset import Faces, sequences
from renderer.neural.inference import NeuralRenderer
from renderer.neural.networks import HISTORY
from renderer.neural.settings import STEP, TrainingSettings
from renderer.neural.trainer import Chunk, Trainer, as_conditioning, as_picture
from renderer.training_page import HeldOutSample, TrainingPage

NUMBERED = 10  # epochs between checkpoints that keep their number
_SAVE_SECONDS = 600.0  # between states, so that little is lost
_MEASURED = 12  # held-out frames that are drawn after an epoch
FEWEST = STEP + HISTORY  # frames of a sequence


@dataclass
class Position:
    """How far training is: epoch from 1, clips and chunks of it that are done, steps in all."""

    epoch: int = 1
    clip: int = 0
    chunk: int = 0
    step: int = 0
    best: float = -np.inf
    waited: int = 0
    history: Tensor | None = field(default=None, repr=False)


class RendererTraining:
    """Trains on some frames of an actor and measures others.

    Attributes:
        sequences: frames that follow each other, to train on. held_out: frames that are measured.
        position: how far it is.
    """

    def __init__(
        self,
        faces: Faces,
        folder: Path,
        settings: TrainingSettings,
        device: torch.device,
        short: bool,
        perceptual: nn.Module | None = None,
        processes: Processes = ALONE,
    ) -> None:
        """Divide the frames.

        Args:
            processes: that train together; the first one writes.

        Raises:
            InputError: There are too few.
        """
        self.processes = processes
        self.faces, self.folder, self.settings = faces, folder, settings
        self.sequences, self.held_out = divided(faces, settings.held_out)
        self.trainer = Trainer(settings, device, short, perceptual, self.processes)
        self.position = Position()
        self._clips = settings.batch  # side by side at the moment, in all processes
        self._names = [checkpoints.LATEST]  # of the next checkpoint

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
        """Forget what was logged after the step that training is at."""
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
        settings = self.settings
        limit = np.inf if minutes is None else 60 * minutes
        longest = min(len(sequence) for sequence in self.sequences) - HISTORY
        clips = -(-len(self.sequences) // settings.batch)
        planned = sum(
            clips * settings.batch * min(settings.clip_length(epoch), longest)
            for epoch in range(self.position.epoch, settings.epochs + 1)
        )
        ending = training_loop(
            self._steps(),
            planned,
            folder=self.folder,
            save=self.save,
            measure=self.measure,
            pace=Pace(limit, _SAVE_SECONDS),
            progress=progress,
            processes=self.processes,
        )
        return "all epochs are done" if ending is Ending.STEPS else ending.value

    def save(self) -> None:
        """Write checkpoints and the state; raises OutputError."""
        position = {f.name: getattr(self.position, f.name) for f in dataclasses.fields(Position)}
        if self.position.history is not None:
            position["history"] = self.processes.whole(self.position.history, self._clips)
        names, self._names = self._names, [checkpoints.LATEST]
        if not self.processes.first:
            return
        checkpoints.save_networks(self.folder, tuple(names), self.trainer)
        state = {"trainer": self.trainer.state(), "position": position}
        checkpoints.save_state(self.folder, self.settings, state)
        where = f"{self.position.epoch},{self.position.step}\n"
        write_atomically(self.folder / "iter.txt", where.encode())

    def measure(self) -> bool:
        """Draw held-out frames, and show them; True if they have stopped gaining for too long."""
        position, stop = self.position, False
        if self.held_out and self.processes.first:
            rested = position.clip == position.chunk == 0
            sample = self._draw_held_out(position.epoch - rested)
            TrainingPage(self.folder / "web").add(sample)
            if sample.psnr > position.best:
                position.best, position.waited = sample.psnr, 0
                self._names.append(checkpoints.BEST)
            elif rested:
                position.waited += 1
            stop = 0 < self.settings.patience <= position.waited
        return self.processes.told(stop)

    def _steps(self) -> Iterator[StepDone]:
        """Every step that is left; the position is moved before each is told."""
        position, settings = self.position, self.settings
        while position.epoch <= settings.epochs:
            for losses in self._epoch():
                self._log(losses)
                yield StepDone(position.step, settings.batch * STEP)
            finished = position.epoch
            position.epoch, position.clip = finished + 1, 0
            if finished % NUMBERED == 0:
                self._names.append(str(finished))
            due = finished % NUMBERED == 0 or finished == settings.epochs
            yield StepDone(position.step, 0, "now" if due else "if time")

    def _epoch(self) -> Iterator[dict[str, float]]:
        """Losses of every step of the epoch's rest; the position is moved before each."""
        position, settings = self.position, self.settings
        random = np.random.default_rng([settings.seed, position.epoch])
        order = random.permutation(len(self.sequences))
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
        chosen = [self.sequences[k] for k in group]
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

    def _draw_held_out(self, epoch: int) -> HeldOutSample:
        """Draw some held-out frames and compare."""
        run = max(self.faces.runs(self.held_out), key=len)
        first = max(0, (len(run) - _MEASURED) // 2)
        frames = run[first : first + _MEASURED]
        renderer = NeuralRenderer(self.trainer.generator, self.trainer.device, self.trainer.short)
        seen = [self.faces.conditioning(frame) for frame in frames]
        made = list(renderer.render(seen))
        filmed = [np.moveaxis(self.faces.face(frame), 0, 2) for frame in frames]
        psnr = inside_psnr(made, filmed, [one[-1] > 0 for one in seen])
        return HeldOutSample(epoch, self.position.step, psnr, frames, seen, made, filmed)

    def _log(self, losses: dict[str, float]) -> None:
        values = " ".join(f"{name} {value:.5f}" for name, value in losses.items())
        path = self.folder / "loss_log.txt"
        if self.processes.first:
            line = f"epoch {self.position.epoch} step {self.position.step} {values}\n"
            append_text(path, line)
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
