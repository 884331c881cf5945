"""Training settings: how a neural renderer learns an actor, with the published defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ned.core.errors import InputError

Adversarial = Literal["ls", "hinge"]
Perceptual = Literal["auto", "vgg", "structure", "none"]

STEP = 4  # frames drawn between two updates


@dataclass(frozen=True)
class TrainingSettings:
    """How to train; everything is written beside the checkpoints.

    Attributes:
        epochs: how often every sequence is seen. batch: clips side by side.
        size: side of the pictures in pixels. roi: side of what the region's discriminators see.
        width, judge_width: channels of the first layers of generator and discriminators.
        rate, betas: of Adam. adversarial: kind of loss.
        perceptual: vgg (weights needed), structure (none needed), auto: vgg where it is.
        mouth, eyes: whether there are discriminators of these regions.
        weight: of feature matching and of the perceptual loss.
        first, double_every: frames drawn per clip at first; doubled after so many epochs.
        held_out: share of the frames, the last ones, that are not trained on.
        patience: measurements of held-out frames without a gain before it stops; 0 never stops. It
            measures after an epoch, but not more often than once a minute or after every tenth.
        seed: of first weights and of everything random.
    """

    epochs: int = 20
    batch: int = 1
    size: int = 256
    roi: int = 72
    width: int = 64
    judge_width: int = 64
    rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    adversarial: Adversarial = "ls"
    perceptual: Perceptual = "auto"
    mouth: bool = True
    eyes: bool = False
    weight: float = 10.0
    first: int = 12
    double_every: int = 5
    held_out: float = 0.1
    patience: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every range; raises InputError."""
        for name, least in (("epochs", 1), ("batch", 1), ("width", 1), ("judge_width", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}, give {least} or more")
        if self.size < 32 or self.size % 8:
            raise InputError(f"size is {self.size} pixels, give a multiple of 8 from 32 on")
        if not 8 <= self.roi <= self.size or self.roi % 2:
            raise InputError(f"roi is {self.roi} pixels, give an even number from 8 to {self.size}")
        if not 0 < self.rate < 1:
            raise InputError(f"rate is {self.rate}, give a learning rate such as 2e-4")
        if not 0 <= self.held_out <= 0.9:
            raise InputError(f"held-out is {self.held_out}, give a share from 0 to 0.9")
        if self.patience < 0:
            raise InputError(f"patience is {self.patience}, give 0 or more")

    def clip_length(self, epoch: int) -> int:
        """Frames drawn per clip in an epoch counted from 1: 12, after 5 epochs 24, then 48."""
        return self.first << min((epoch - 1) // self.double_every, 16)
