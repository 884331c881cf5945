"""Trainer: one step of learning: frames are drawn one after the other, judged, and learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ned.core.processes import ALONE, Processes
from renderer.neural.dataset import mouth_corner
from renderer.neural.losses import adversarial_loss, feature_loss, fooling_loss
from renderer.neural.networks import CHANNELS, FRAMES, HISTORY, Discriminator, Generator, initialise
from renderer.neural.settings import TrainingSettings


@dataclass(frozen=True, eq=False)
class Chunk:
    """Frames that follow each other in B clips, two more than are drawn.

    Attributes:
        conditioning: (B, T + 2, 10, H, W) in [0, 1]. faces: (B, T + 2, 3, H, W) in [-1, 1].
        centres: x, y of regions in pixels, (B, T + 2, 2) int64 by name ("mouth", "eyes").
    """

    conditioning: Tensor
    faces: Tensor
    centres: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a step gave.

    Attributes:
        losses: by name, unweighted parts and both sums.
        made: (B, T, 3, H, W) pictures, detached. gradients: norms of generator and discriminators.
    """

    losses: dict[str, float]
    made: Tensor
    gradients: tuple[float, float]

    @property
    def last(self) -> Tensor:
        """(B, 6, H, W) the last two pictures, which the next chunk goes on from."""
        return self.made[:, -HISTORY:].flatten(1, 2)


class Trainer:
    """Generator and discriminators with their optimisers.

    Attributes:
        generator: it. judges: discriminators by what they see: "image", then regions.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        device: torch.device | None = None,
        short: bool = False,
        perceptual: nn.Module | None = None,
        processes: Processes = ALONE,
    ) -> None:
        """Make networks with first weights.

        Args:
            short: compute in bfloat16 where that loses nothing that matters (autocast).
            perceptual: distance of made and real pictures; none if None.
            processes: that learn together, each from its share of the clips.
        """
        self.settings, self.short = settings, short
        self.processes = processes
        self.device = device or torch.device("cpu")
        # short numbers are fast with channels last, float32 on CPUs is more exact with them first
        wide = self.device.type == "cpu" and not short
        self._layout = torch.contiguous_format if wide else torch.channels_last
        torch.manual_seed(settings.seed)
        self.generator = Generator(settings.width)
        regions = [name for name in ("mouth", "eyes") if getattr(settings, name)]
        self.judges = {name: Discriminator(settings.judge_width) for name in ("image", *regions)}
        for network in (self.generator, *self.judges.values()):
            initialise(network)
        self.perceptual = perceptual
        self.prepare()

    def prepare(self) -> None:
        """Make optimisers anew for the networks as they are now."""
        for network in (self.generator, *self.judges.values(), self.perceptual):
            if network is not None:
                network.to(self.device, memory_format=self._layout)  # type: ignore
        rate, betas = self.settings.rate, self.settings.betas
        judging = [weight for judge in self.judges.values() for weight in judge.parameters()]
        self.optimisers = {
            "generator": torch.optim.Adam(self.generator.parameters(), rate, betas, fused=True),
            "judges": torch.optim.Adam(judging, rate, betas, fused=True),
        }

    def step(
        self, chunk: Chunk, previous: Tensor | None = None, clips: int | None = None
    ) -> Outcome:
        """Draw a chunk's frames, update the generator once, then the discriminators once.

        Args:
            previous: (B, 6, H, W) the two pictures drawn before; None at a clip's beginning.
            clips: how many all processes see together; the chunk's own if None.
        """
        clips = clips or len(chunk.faces)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.short):
            made = self._draw(chunk.conditioning, previous)
            seen = chunk.conditioning[:, HISTORY:].flatten(0, 1)
            real, fake = chunk.faces[:, HISTORY:].flatten(0, 1), made.flatten(0, 1)
            losses: dict[str, Tensor] = {}
            drawing, judging = fake.new_zeros(()), fake.new_zeros(())
            if self.perceptual is not None:
                losses["perceptual"] = self.perceptual(fake, real)
                drawing = drawing + self.settings.weight * losses["perceptual"]
            for name, judge in self.judges.items():
                parts = (seen, real, fake)
                if name != "image":
                    corners = chunk.centres[name][:, HISTORY:].flatten(0, 1)
                    parts = tuple(_cut(part, corners, self.settings.roi) for part in parts)
                found = self._judge(judge, *parts)
                losses |= {f"{name}_{part}": loss for part, loss in found.items()}
                drawing = drawing + found["fooled"] + self.settings.weight * found["features"]
                judging = judging + 0.5 * (found["real"] + found["made"])
        losses |= {"generator": drawing, "judges": judging}
        norms = (
            # both from the same pictures, before any weight changes
            self._update("generator", drawing, clips, keep=True),
            self._update("judges", judging, clips),
        )
        found = self.processes.mean(torch.stack([one.detach() for one in losses.values()]), clips)
        values = dict(zip(losses, found.tolist(), strict=True))
        return Outcome(values, made.detach(), norms)

    def _draw(self, conditioning: Tensor, previous: Tensor | None) -> Tensor:
        """(B, T + 2, 10, H, W) -> (B, T, 3, H, W); nothing flows back through drawn pictures."""
        count = conditioning.shape[1] - HISTORY
        windows = [conditioning[:, t : t + FRAMES].flatten(1, 2) for t in range(count)]
        encoded = self.generator.encode_conditioning(self._laid(torch.cat(windows)))
        made: list[Tensor] = []
        for features, window in zip(encoded.chunk(count), windows, strict=True):
            picture = self.generator.draw(features, window, previous)
            made.append(picture.to(conditioning.dtype))
            before = torch.zeros_like(made[-1]) if previous is None else previous[:, 3:]
            previous = self._laid(torch.cat([before, made[-1].detach()], dim=1))
        return torch.stack(made, dim=1)

    def _judge(
        self, judge: Discriminator, seen: Tensor, real: Tensor, fake: Tensor
    ) -> dict[str, Tensor]:
        kind = self.settings.adversarial
        # apart, so that what the generator learns does not flow through real pictures
        seen = self._laid(seen)
        of_real, of_fake = judge(seen, self._laid(real)), judge(seen, self._laid(fake))
        return {
            "fooled": fooling_loss(of_fake, kind),
            "features": feature_loss(of_fake, of_real),
            "real": adversarial_loss(of_real, True, kind),
            "made": adversarial_loss(of_fake, False, kind),
        }

    def _update(self, name: str, loss: Tensor, clips: int, keep: bool = False) -> float:
        optimiser = self.optimisers[name]
        weights: list[Tensor] = optimiser.param_groups[0]["params"]
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss, inputs=weights, retain_graph=keep)
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        self.processes.average(gradients, clips)
        norm = float(nn.utils.get_total_norm(gradients))
        optimiser.step()
        return norm

    def _laid(self, pictures: Tensor) -> Tensor:
        return pictures.contiguous(memory_format=self._layout)

    def state(self) -> dict[str, Any]:
        """Everything that learning goes on from, as `torch.save` takes it."""
        return {
            "generator": self.generator.state_dict(),
            "judges": {name: judge.state_dict() for name, judge in self.judges.items()},
            "optimisers": {name: one.state_dict() for name, one in self.optimisers.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; raises KeyError, ValueError or RuntimeError if it does not fit."""
        self.generator.load_state_dict(state["generator"])
        for name, judge in self.judges.items():
            judge.load_state_dict(state["judges"][name])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])


def as_conditioning(bytes_: Tensor) -> Tensor:
    """(..., 10, H, W) uint8 -> numbers in [0, 1], the mask 0 or 1."""
    assert bytes_.shape[-3] == CHANNELS
    return bytes_.float() / 255


def as_picture(bytes_: Tensor) -> Tensor:
    """uint8 -> [-1, 1]."""
    return (bytes_.float() / 255 - 0.5) / 0.5


def _cut(pictures: Tensor, centres: Tensor, roi: int) -> Tensor:
    """Squares (N, C, roi, roi) of pictures (N, C, H, W) around their own centres (N, 2)."""
    squares = []
    for picture, centre in zip(pictures, centres.cpu().numpy(), strict=True):
        row, column = mouth_corner(centre, roi, picture.shape[-1])
        squares.append(picture[:, row : row + roi, column : column + roi])
    return torch.stack(squares)
