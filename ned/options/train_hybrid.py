"""Options of `train-hybrid`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ned.core.errors import InputError
from ned.options.render import Precision, device_of

SHORTEST, LONGEST = 0.02, 24 * 60.0  # minutes


@dataclass(frozen=True)
class TrainHybridOptions:
    """Train the hybrid renderer of one actor, in minutes, from footage as it is."""

    clips: Positional[tuple[Path, ...]]
    """Footage of the actor: one clip or several, or a folder that holds them in 'videos'."""
    output: Annotated[Path, arg(aliases=("-o",))] = Path("actor_model")
    """Folder of the model; the same command goes on with what lies there."""
    minutes: float = 20.0
    """Time to learn in, over all runs."""
    steps: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Stop after so many steps, if that comes first."""
    size: int = 256
    """Side of the face in pixels: 256, or 512 for close-ups (four times slower)."""
    held_out: float = 0.1
    """Share of every clip, at its end, that is not trained on but measured."""
    actor: int = 0
    """Which face, counted from 0 for the largest."""
    seed: int = 0
    """Of first weights and of everything random."""
    restart: bool = False
    """Begin anew instead of going on from what lies in --output."""
    gpu_ids: Annotated[str, arg(metavar="ID")] = "auto"
    """The GPU to use; -1 is the CPU."""
    precision: Precision = "auto"
    """How to count: bfloat16 is faster where the machine has it."""

    def __post_init__(self) -> None:
        """Check every range; raises InputError."""
        if not self.clips:
            raise InputError("give one clip of the actor or more")
        if not SHORTEST <= self.minutes <= LONGEST:
            raise InputError(
                f"--minutes is {self.minutes:g}, give a number from {SHORTEST:g} to {LONGEST:g}"
            )
        if self.steps is not None and self.steps < 1:
            raise InputError(f"--steps is {self.steps}, give 1 or more")
        if not 64 <= self.size <= 1024 or self.size % 16:
            raise InputError(f"--size is {self.size}, give a multiple of 16 from 64 to 1024")
        if not 0 <= self.held_out <= 0.9:
            raise InputError(f"--held-out is {self.held_out:g}, give a share from 0 to 0.9")
        if self.actor < 0:
            raise InputError(f"--actor is {self.actor}, give 0 or more")
        device_of(self.gpu_ids)
