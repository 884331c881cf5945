"""Pairs: training on performances that were played with several emotions over the same words.

NED learns from unpaired recordings: a discriminator tells whether a translated window looks like
the wanted emotion, and a cycle keeps the rest. Synthetic takes hold more: the same words, actor and
moment with every emotion. Where that is known, the translation is learned from it directly, which
is steadier and many times faster than a game between networks. The networks, their use, and the
meaning of styles are those of NED; docs/lab/manipulator.md tells what was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manipulator.data.synthetic import SyntheticPerformance
from manipulator.networks import Networks
from ned.core.progress import SILENT, Progress
from ned.core.training_loop import StepDone, training_loop

_REFERENCES = 5  # windows that give a style
_SIDES = 10.0  # weight of what differs between the sides of a face in what is read from styles
_LATENTS = 64  # of each emotion in an iteration of the mapping network


@dataclass(frozen=True)
class PairedSettings:
    """How pairs are learned.

    Attributes:
        iterations: of encoder and generator. mapping_iterations: of the mapping network after them.
        batch: windows in an iteration. rate: of Adam at its highest; it falls along a cosine.
        motion: weight of the error of frame-to-frame differences. reading: weight of the squared
            error of what a linear map, which is not kept, reads from a style; without it styles
            take long to tell sides apart. size: weight of the squared styles, which keeps them
            near zero. short: train in bfloat16 where torch can.
        strong: least mean size of the takes that the mapping network imitates, so that a label
            without an intensity means an expression as clear as a prototype.
    """

    iterations: int = 12000
    mapping_iterations: int = 3000
    batch: int = 64
    rate: float = 1e-3
    motion: float = 0.5
    reading: float = 0.3
    size: float = 1e-3
    short: bool = True
    strong: float = 0.85


@dataclass(frozen=True)
class Pairs:
    """Takes with all their emotions, in normalised values.

    Attributes:
        values: (N, E, T, V) as measured; zero beyond a take's length.
        change: (N, E, T, V) what each emotion adds. lengths: (N,) frames of each take.
        intensity: (N, E) mean size. weight: (E,) how much errors towards each emotion count; more
            where it adds little, so that small expressions are learned too. mirror: (V,) column of
            the same value on the other side.
    """

    values: Tensor
    change: Tensor
    lengths: Tensor
    intensity: Tensor
    weight: Tensor
    mirror: Tensor

    @classmethod
    def of(
        cls,
        performances: Sequence[SyntheticPerformance],
        emotions: Sequence[str],
        mean: NDArray[np.float32],
        deviation: NDArray[np.float32],
        mirror: NDArray[np.int64],
    ) -> Pairs:
        """Sort performances into takes; takes that lack an emotion are left out."""
        takes: dict[int, dict[str, SyntheticPerformance]] = {}
        for performance in performances:
            takes.setdefault(performance.take, {})[performance.emotion] = performance
        whole = [take for take in takes.values() if set(emotions) <= set(take)]
        lengths = [len(take[emotions[0]].units) for take in whole]
        shape = (len(whole), len(emotions), max(lengths), len(mean))
        values, change = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        intensity = np.zeros(shape[:2], np.float32)
        for n, take in enumerate(whole):
            for e, emotion in enumerate(emotions):
                performance = take[emotion]
                values[n, e, : lengths[n]] = (performance.units - mean) / deviation
                change[n, e, : lengths[n]] = performance.change / deviation
                intensity[n, e] = performance.intensity.mean()
        added = np.abs(change).mean((0, 2, 3))
        weight = np.clip(np.median(added) / np.maximum(added, 1e-6), 0.7, 2.0)
        return cls(
            torch.from_numpy(values),
            torch.from_numpy(change),
            torch.tensor(lengths),
            torch.from_numpy(intensity),
            torch.from_numpy(weight.astype(np.float32)),
            torch.from_numpy(mirror),
        )

    def windows(self, take: Tensor, emotion: Tensor, start: Tensor, window: int) -> Tensor:
        """(B, 2, window, V) values and change of windows."""
        frames = start[:, None] + torch.arange(window)
        index = (take[:, None], emotion[:, None], frames)
        return torch.stack([self.values[index], self.change[index]], dim=1)


@dataclass(frozen=True)
class PairedBatch:
    """What one iteration sees.

    Attributes:
        real: (B, T, V) windows. wanted: (B, T, V) their translations. references: (B, R, T, V)
            windows in the wished style. added: (B, V) what that style adds on average. weight: (B,)
            how much each counts. mirror: (V,) column of the same value on the other side.
    """

    real: Tensor
    wanted: Tensor
    references: Tensor
    added: Tensor
    weight: Tensor
    mirror: Tensor


def paired_batches(
    pairs: Pairs, window: int, batch: int, generator: torch.Generator
) -> Iterator[PairedBatch]:
    """Random windows for ever: from any emotion to any, style from other moments of the take."""
    count, emotions = pairs.values.shape[:2]
    while True:
        take = torch.randint(count, (batch,), generator=generator)
        source = torch.randint(emotions, (batch,), generator=generator)
        target = torch.multinomial(pairs.weight, batch, replacement=True, generator=generator)
        room = (pairs.lengths[take] - window + 1).float()
        starts = (torch.rand(_REFERENCES + 1, batch, generator=generator) * room).long()
        real, had = pairs.windows(take, source, starts[0], window).unbind(1)
        added = pairs.windows(take, target, starts[0], window)[:, 1]
        shown = [pairs.windows(take, target, start, window)[:, 0] for start in starts[1:]]
        references = torch.stack(shown, dim=1)
        wanted = real + added - had
        if torch.rand((), generator=generator) < 0.5:
            real, wanted = real[..., pairs.mirror], wanted[..., pairs.mirror]
            references, added = references[..., pairs.mirror], added[..., pairs.mirror]
        weight = pairs.weight[target]
        yield PairedBatch(real, wanted, references, added.mean(1), weight, pairs.mirror)


def train_pairs(
    networks: Networks,
    pairs: Pairs,
    settings: PairedSettings = PairedSettings(),
    seed: int = 0,
    progress: Progress = SILENT,
) -> dict[str, float]:
    """Train style encoder and generator on pairs, then the mapping network on their styles.

    Returns:
        Mean losses of the last tenth of the iterations, and of the mapping network.
    """
    generator = torch.Generator().manual_seed(seed)
    learning: list[Tensor] = [
        *networks.style_encoder.parameters(),
        *networks.generator.parameters(),
    ]
    shape = (networks.settings.style, networks.settings.values)
    reading = (0.1 * torch.randn(shape, generator=generator)).requires_grad_()
    learning.append(reading)
    optimiser = torch.optim.Adam(learning, lr=settings.rate, betas=(0.9, 0.99))
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.iterations)
    batches = paired_batches(pairs, networks.settings.window, settings.batch, generator)
    sums: dict[str, float] = {}
    last = settings.iterations - max(1, settings.iterations // 10)

    def steps() -> Iterator[StepDone]:
        for iteration in range(settings.iterations):
            losses = paired_losses(networks, next(batches), settings, reading)
            optimiser.zero_grad(set_to_none=True)
            losses["total"].backward()
            torch.nn.utils.clip_grad_norm_(learning, 1.0)
            optimiser.step()
            falling.step()
            if iteration >= last:
                for name, value in losses.items():
                    share = value.item() / (settings.iterations - last)
                    sums[name] = sums.get(name, 0.0) + share
            yield StepDone(iteration + 1)

    training_loop(steps(), settings.iterations, stage="learning pairs", progress=progress)
    sums["mapping"] = train_mapping(networks, pairs, settings, generator, progress)
    return sums


def paired_losses(
    networks: Networks,
    batch: PairedBatch,
    settings: PairedSettings,
    reading: Tensor | None = None,
) -> dict[str, Tensor]:
    """Mean absolute errors of windows and of their motion; "total" is weighted.

    Args:
        reading: (S, V) map that guesses from a style what it adds; None leaves that loss out.
    """
    count, references = batch.references.shape[:2]
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.short):
        styles = networks.style_encoder(batch.references.flatten(0, 1))
        style = styles.view(count, references, -1).mean(1)
        made = networks.generator(batch.real, style)
    style, error = style.float(), made.float() - batch.wanted
    error = batch.weight[:, None, None] * error
    shape = error.abs().mean()
    motion = error.diff(dim=1).abs().mean()
    size = (style**2).mean()
    total = shape + settings.motion * motion + settings.size * size
    losses = {"shape": shape, "motion": motion, "size": size}
    if reading is not None:
        wrong = style @ reading - batch.added
        sides = wrong - wrong[:, batch.mirror]
        losses["reading"] = (wrong**2 + _SIDES * sides**2).mean()
        total = total + settings.reading * losses["reading"]
    return losses | {"total": total}


def train_mapping(
    networks: Networks,
    pairs: Pairs,
    settings: PairedSettings,
    generator: torch.Generator,
    progress: Progress = SILENT,
) -> float:
    """Teach the mapping network the styles that the encoder finds in strong takes.

    Noise becomes styles with the energy distance (Székely & Rizzo, 2013) as loss: zero only where
    both distributions are equal, so takes stay as different from each other as actors are.
    """
    known = [each.detach() for each in clip_styles(networks, pairs, settings.strong)]
    count = len(known)
    labels = torch.arange(count).repeat_interleave(_LATENTS)
    optimiser = torch.optim.Adam(networks.mapping_network.parameters(), lr=settings.rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.mapping_iterations)
    last, found = max(1, settings.mapping_iterations // 10), []

    def steps() -> Iterator[StepDone]:
        for iteration in range(settings.mapping_iterations):
            rows = [torch.randint(len(each), (_LATENTS,), generator=generator) for each in known]
            shown = torch.stack([each[row] for each, row in zip(known, rows, strict=True)])
            latent = torch.randn(len(labels), networks.settings.latent, generator=generator)
            made = networks.mapping_network(latent, labels).view(count, _LATENTS, -1)
            loss = energy_distance(made, shown).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            falling.step()
            if iteration >= settings.mapping_iterations - last:
                found.append(loss.item() / last)
            yield StepDone(iteration + 1)

    training_loop(steps(), settings.mapping_iterations, stage="learning labels", progress=progress)
    return sum(found)


def clip_styles(networks: Networks, pairs: Pairs, strong: float = 0.0) -> list[Tensor]:
    """One (M, S) tensor per emotion: mean style of each take's windows.

    Args:
        strong: least mean intensity, or that of the strongest take if none reaches it; takes
            without any expression, neutral ones, always count.
    """
    window, found = networks.settings.window, []
    with torch.no_grad():
        for emotion in range(pairs.values.shape[1]):
            rows = []
            least = min(strong, float(pairs.intensity[:, emotion].max()))
            for take, length in enumerate(pairs.lengths.tolist()):
                intensity = float(pairs.intensity[take, emotion])
                if 0 < intensity < least:
                    continue
                whole = pairs.values[take, emotion, :length]
                shown = whole.unfold(0, window, window // 2).transpose(1, 2)
                rows.append(networks.style_encoder(shown).mean(0))
            found.append(torch.stack(rows))
    return found


def energy_distance(first: Tensor, second: Tensor) -> Tensor:
    """Energy distance of samples (..., M, S) and (..., N, S), at least 0 up to sampling error."""
    across = torch.cdist(first, second).mean((-2, -1))
    return 2 * across - _mean_apart(first) - _mean_apart(second)


def _mean_apart(points: Tensor) -> Tensor:
    count = points.shape[-2]
    distance = (points.unsqueeze(-2) - points.unsqueeze(-3)).pow(2).sum(-1).add(1e-12).sqrt()
    return distance.sum((-2, -1)) / (count * (count - 1))
