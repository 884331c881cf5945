"""Translation: a sequence and styles -> the sequence in these styles.

As NED does it (section 3.2): windows of ten frames, one frame apart, are translated and put
together again with the weights of a small bell. All windows go through the networks at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manipulator.checkpoints import Manipulator
from manipulator.unrolled_generator import UnrolledGenerator

if TYPE_CHECKING:
    from manipulator.networks import Networks

Edges = Literal["ned", "averaged"]
Precision = Literal["float32", "bfloat16"]

_BATCH = 512  # windows in memory at once
_RUN = 30  # windows of one style on average, from which on they are worth treating apart
_STEP = 1e-5  # of the geometric median, below which it has arrived


@dataclass(frozen=True)
class TranslationSettings:
    """How windows are put together.

    Attributes:
        edges: what the first and last frames get, which fewer windows hold than the others: "ned",
            the output of the first and last window alone; "averaged", the weighted mean of those
            that hold them.
        precision: of the generator.
    """

    edges: Edges = "ned"
    precision: Precision = "float32"


@dataclass(frozen=True, eq=False)
class Wishes:
    """What every window is asked for.

    Attributes:
        styles: (W, S) float32. intensity: (W,) 0 as recorded, 1 the style, up to 1.5 beyond it.
        ending: one more wish for the last window, which rules the last frames of "ned" edges; if
            None, the last of the others does.
    """

    styles: Tensor
    intensity: NDArray[np.float32]
    ending: Wishes | None = None


def window_weights(length: int = 10) -> NDArray[np.float64]:
    """(length,) weights of a window's frames, sum 1.

    OpenCV's Gaussian of that many taps with its own sigma. Where the number of taps is even, both
    taps in the middle have the weight of the very centre.
    """
    sigma = 0.15 * length + 0.35
    offsets = np.abs(np.arange(length) - (length - 1) / 2)
    offsets[offsets < 0.75] = 0
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    return weights / weights.sum()


def windows_of(values: Tensor, length: int = 10) -> Tensor:
    """(T, V) -> (T - length + 1, length, V), one frame apart."""
    return values.unfold(0, length, 1).transpose(1, 2)


def overlap_add(windows: Tensor, edges: Edges = "ned") -> Tensor:
    """(W, L, V) windows one frame apart -> (W + L - 1, V) weighted mean of what they say."""
    count, length = windows.shape[:2]
    weights = window_weights(length)
    total = windows.new_zeros(count + length - 1, windows.shape[2])
    covered = windows.new_zeros(count + length - 1, 1)
    for tap, weight in enumerate(weights.tolist()):
        total[tap : tap + count] += weight * windows[:, tap]
        covered[tap : tap + count] += weight
    if edges == "averaged":
        return total / covered
    rim = length - 1
    total[:rim] = windows[0, :rim]
    total[len(total) - rim :] = windows[-1, 1:]
    return total


def shared_wishes(
    styles: Tensor, frames: int, length: int = 10, intensity: Sequence[float] | None = None
) -> Wishes:
    """Give each of (S, 16) styles a share of a clip, one after the other.

    The shares are of frames, though counted in windows, so that the last style has fewer windows
    than the others; the last frames are its own in any case.

    Args:
        intensity: of each style, 1 if None.
    """
    count = max(frames - length + 1, 1)
    share = max(frames, length) / len(styles)
    index = torch.tensor([int(window / share) for window in range(count)])
    wanted = np.ones(len(styles)) if intensity is None else np.asarray(intensity)
    wanted = wanted.astype(np.float32)
    return Wishes(styles[index], wanted[index.numpy()], Wishes(styles[-1:], wanted[-1:]))


def timed_wishes(
    styles: Tensor, weights: NDArray[np.floating], length: int = 10, limit: float = 1.5
) -> Wishes:
    """Styles that change over time.

    Args:
        styles: (E, 16) of emotions. weights: (T, E) how much of each is wanted in every frame;
            their proportions mix styles, their sum (at most `limit`) is the intensity.

    Returns:
        For each window, the mean over its frames by `window_weights`.
    """
    padded = np.concatenate([weights, np.repeat(weights[-1:], max(length - len(weights), 0), 0)])
    taps = window_weights(length)
    count = len(padded) - length + 1
    mean = sum(tap * padded[k : k + count] for k, tap in enumerate(taps))
    total = np.asarray(mean).sum(1)
    shares = np.asarray(mean) / np.where(total > 0, total, 1)[:, None]
    mixed = torch.from_numpy(shares.astype(np.float32)) @ styles
    intensity = np.minimum(total, limit)
    # sums of weights in float do not quite reach 1
    return Wishes(mixed, np.where(np.abs(intensity - 1) < 1e-6, 1, intensity).astype(np.float32))


def label_styles(networks: Networks, seed: int = 0) -> Tensor:
    """(E, S) a style of every emotion, all of one random latent that the seed decides."""
    settings = networks.settings
    latent = torch.randn(1, settings.latent, generator=torch.Generator().manual_seed(seed))
    return styles_of_latent(networks, latent)


@torch.inference_mode()
def styles_of_latent(networks: Networks, latent: Tensor) -> Tensor:
    """(E, S) the style of every emotion for a (1, L) latent."""
    count = len(networks.settings.emotions)
    latent = latent.to(next(networks.parameters()).device)
    emotions = torch.arange(count, device=latent.device)
    return networks.mapping_network(latent.expand(count, -1), emotions)


@torch.inference_mode()
def window_styles(networks: Networks, values: Tensor) -> Tensor:
    """(T, V) normalised values -> (W, S) the style of every window; short clips are held."""
    windows = windows_of(_held(values, networks.settings.window), networks.settings.window)
    parts = [networks.style_encoder(part) for part in windows.split(_BATCH)]
    return torch.cat(parts)


def reference_style(networks: Networks, clips: Sequence[Tensor]) -> Tensor:
    """(S,) the style of reference clips (T, V): geometric median of the styles of all windows."""
    styles = torch.cat([window_styles(networks, clip) for clip in clips])
    median = geometric_median(styles.double().numpy())
    return torch.from_numpy(median).to(styles.dtype)


def geometric_median(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, D) points -> (D,) the point whose sum of distances to them is least.

    Weiszfeld's iteration from the mean, with the rule of Vardi and Zhang (2000) for an estimate
    that lies on one of the points.
    """
    points = np.asarray(points, np.float64)
    estimate = points.mean(0)
    while True:
        distance = np.linalg.norm(points - estimate, axis=1)
        away = distance > 0
        if not away.any():
            return estimate
        inverse = 1 / distance[away]
        mean = (points[away] * inverse[:, None]).sum(0) / inverse.sum()
        here = len(points) - int(away.sum())
        if here:
            pull = float(np.linalg.norm((mean - estimate) * inverse.sum()))
            stay = min(1.0, here / pull) if pull else 1.0
            mean = (1 - stay) * mean + stay * estimate
        step = float(np.linalg.norm(mean - estimate))
        estimate = mean
        if step < _STEP:
            return estimate


@torch.inference_mode()
def translate(
    values: Tensor,
    wishes: Wishes,
    networks: Networks,
    settings: TranslationSettings | None = None,
    short: UnrolledGenerator | None = None,
) -> Tensor:
    """Translate a sequence.

    At intensity 1 a window is what the generator makes of it in the wished style. Below (and
    above), styles lie between (beyond) the window's own style and the wished one, and what the
    generator cannot reproduce of the window in its own style is given back in proportion, so that
    at 0 every frame is exactly what it was.

    Args:
        values: (T, V) normalised; T may be less than a window.
        wishes: one per window, max(T - L + 1, 1) of them.
        short: the networks' generator in bfloat16; made anew if it is needed and None.

    Returns:
        (T, V).
    """
    settings = settings or TranslationSettings()
    length = networks.settings.window
    held = _held(values, length)
    windows = windows_of(held, length)
    if len(wishes.styles) != len(windows) or len(wishes.intensity) != len(windows):
        raise ValueError(f"{len(wishes.styles)} wishes for {len(windows)} windows")
    unrolled = UnrolledGenerator(networks.generator, values.dtype)
    if settings.precision == "bfloat16":
        unrolled = short or UnrolledGenerator(networks.generator)
    run = _Runner(unrolled, length)
    ending = wishes.ending
    if settings.edges != "ned" or (ending is not None and _ends_so(wishes, ending)):
        ending = None

    def join(windows: Tensor, end: Tensor | None) -> Tensor:
        result = overlap_add(windows, settings.edges)
        if end is not None:
            result[len(result) - length + 1 :] = end[0, 1:]
        return result

    last = held[len(held) - length :]
    asked = _asked(run, networks, held, wishes)
    end = None if ending is None else _asked(run, networks, last, ending)
    result = join(asked, end)
    touched = join(
        _intensities(wishes, held), None if ending is None else _intensities(ending, last)
    )
    return torch.where(touched > 0, result, held)[: len(values)]


def _ends_so(wishes: Wishes, ending: Wishes) -> bool:
    """True if the last window is asked for what the ending says."""
    same = torch.equal(wishes.styles[-1], ending.styles[0])
    return same and bool(wishes.intensity[-1] == ending.intensity[0])


def _intensities(wishes: Wishes, values: Tensor) -> Tensor:
    """(W, L, 1) intensity of every window, over its frames."""
    intensity = torch.from_numpy(wishes.intensity).to(values)
    length = len(values) - len(intensity) + 1
    return intensity[:, None, None].expand(-1, length, 1)


def _asked(run: _Runner, networks: Networks, values: Tensor, wishes: Wishes) -> Tensor:
    """(W, L, V) what each window of (T, V) values becomes."""
    styles = wishes.styles.to(values)
    if bool((wishes.intensity == 1).all()):
        return run(values, styles)
    own = window_styles(networks, values).to(values)
    strength = _intensities(wishes, values)
    asked = run(values, own + strength[:, 0] * (styles - own))
    lost = windows_of(values, networks.settings.window) - run(values, own)
    return asked + (1 - strength).clamp(min=0) * lost


def translate_values(
    values: NDArray[np.floating],
    wishes: Wishes,
    manipulator: Manipulator,
    settings: TranslationSettings | None = None,
    present: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """(T, V) values of a face -> (T, V) translated; intensity 0 returns them bit by bit.

    Args:
        present: (T,) frames that show a face. The others are bridged in a straight line for the
            networks' sake and come back unchanged.
    """
    values = np.asarray(values, np.float32)
    seen = np.ones(len(values), bool) if present is None else present
    if not seen.any() or not np.any(wishes.intensity):
        return values.copy()
    bridged = bridge(values, seen)
    device = next(manipulator.networks.parameters()).device
    given = torch.from_numpy(manipulator.normalised(bridged)).to(device)
    short = None
    if settings is not None and settings.precision == "bfloat16":
        short = manipulator.short_generator
    result = translate(given, wishes, manipulator.networks, settings, short)
    changed = (result != given).any(1).cpu().numpy() & seen
    restored = manipulator.restored(result.float().cpu().numpy())
    return np.where(changed[:, None], restored, values)


def bridge(values: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(T, V) with the rows that were not seen on a straight line between their neighbours."""
    if seen.all():
        return values
    rows = np.arange(len(values))
    columns = [np.interp(rows, rows[seen], values[seen, k]) for k in range(values.shape[1])]
    return np.stack(columns, axis=1).astype(np.float32)


class _Runner:
    """The generator over all windows; long runs of windows of one style share what they can."""

    def __init__(self, generator: UnrolledGenerator, length: int) -> None:
        self.generator, self.length = generator, length

    def __call__(self, values: Tensor, styles: Tensor) -> Tensor:
        """(T, V), (W, S) -> (W, L, V)."""
        limits = torch.arange(0, len(styles), _BATCH)
        changes = (styles[1:] != styles[:-1]).any(1).nonzero()[:, 0].cpu() + 1
        constant = len(changes) * _RUN <= len(styles)
        starts = (torch.cat([limits, changes]).unique() if constant else limits).tolist()
        parts = []
        for start, stop in zip(starts, [*starts[1:], len(styles)], strict=True):
            frames = values[start : stop + self.length - 1]
            if constant:
                parts.append(self.generator.over(frames, styles[start], self.length))
            else:
                windows = windows_of(frames, self.length)
                parts.append(self.generator(windows, styles[start:stop]))
        return torch.cat(parts)


def _held(values: Tensor, length: int) -> Tensor:
    """At least `length` frames: the last one is held."""
    lacking = max(length - len(values), 0)
    return torch.cat([values, values[-1:].expand(lacking, -1)]) if lacking else values
