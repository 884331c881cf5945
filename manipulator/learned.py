"""Learned director: the change of a performance as trained networks see it.

The change is what the generator makes of a window in the wished style, minus what it makes of it in
the clip's own style. What the networks cannot reproduce cancels out, a weight of 0 changes nothing,
and the speech lock, the regions and the eyes are left to `manipulator.directing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deca.rig import Rig
from manipulator.activity import Activity
from manipulator.checkpoints import Manipulator, load_manipulator
from manipulator.director import Direction
from manipulator.translation import (
    bridge,
    overlap_add,
    reference_style,
    styles_of_latent,
    window_styles,
    window_weights,
    windows_of,
)
from ned.core.errors import InputError
from ned.core.face.performance import Performance

_RATE = 25.0  # frames per second that the networks know
_SLACK = 1.12  # rates up to this factor from it are taken as they are
_LATENTS = 256  # of which a plain label's style is the middle of the densest quarter
_CLEAR = (0.6, 0.8)  # cosine to the nearest label, from which on a style is clear
_MOST = 4.0  # times that a reference's style is exaggerated
_EXPRESSIVE = 1 / 3  # of a reference's windows: words hide an expression in the others
_BATCH = 512


@dataclass(frozen=True, eq=False)
class LearnedDirector:
    """Trained networks, ready to direct performances of the rig.

    Attributes:
        manipulator: made for the rig. reference: (S,) style to take on, None for labels.
        exaggeration: how far towards (and beyond) a reference's style full intensity goes, because
            people who talk show, and trackers see, a fraction of what prototypes ask for.
    """

    manipulator: Manipulator
    reference: Tensor | None = None
    exaggeration: float = 1.0

    @classmethod
    def load(
        cls, rig: Rig, path: Path | None = None, reference: Performance | None = None
    ) -> LearnedDirector:
        """Networks from a file, by default the one that ships with the package.

        Raises:
            InputError, AssetError: the file cannot be used, or was not made for this rig.
        """
        if path is None:
            path = Path(str(resources.files("configs").joinpath("manipulator_rig.safetensors")))
        manipulator = load_manipulator(path)
        if manipulator.face_model != "rig" or manipulator.unit_names != rig.names:
            raise InputError(
                f"'{path.name}' was trained for another face model or rig; "
                "train one with `ned train-manipulator --database synthetic`"
            )
        director = cls(manipulator)
        if reference is None:
            return director
        style = director.shown_by(reference)
        return cls(manipulator, style, director.exaggeration_of(style))

    def style_of(self, performance: Performance) -> Tensor:
        """(S,) geometric median of the styles of a performance's windows."""
        present = performance.track.present
        return self.style_of_units(performance.units[present], performance.times[present])

    def shown_by(self, performance: Performance) -> Tensor:
        """(S,) mean style of the third of a reference's windows that is furthest from neutral.

        Networks that do not know neutral find the plain style.
        """
        if "neutral" not in self.manipulator.settings.emotions:
            return self.style_of(performance)
        present = performance.track.present
        units, _ = even_rate(performance.units[present], performance.times[present])
        found = window_styles(self.manipulator.networks, self._given(units))
        distance = (found - self.styles(["neutral"])).norm(dim=1)
        return found[distance >= distance.quantile(1 - _EXPRESSIVE)].mean(0)

    def exaggeration_of(self, style: Tensor) -> float:
        """How far beyond a reference's style full intensity goes.

        People who talk show a quarter of what prototypes ask for. So a style is brought to the mean
        strength of the labels', by a factor of four at most, if it points towards one of
        them; one that resembles no emotion, such as that of a neutral reference, stays as it is.
        """
        known = self.manipulator.settings.emotions
        if "neutral" not in known:
            return 1.0
        neutral = self.styles(["neutral"])[0]
        labels = self.styles([name for name in known if name != "neutral"]) - neutral
        shown = style - neutral
        alike = float(torch.cosine_similarity(labels, shown[None]).max())
        low, high = _CLEAR
        clear = min(max((alike - low) / (high - low), 0.0), 1.0)
        wanted = float(labels.norm(dim=1).mean() / shown.norm().clamp_min(1e-6))
        return 1 + clear * (min(max(wanted, 1.0), _MOST) - 1)

    def styles(self, names: Sequence[str], seed: int = 0, variant: int | None = None) -> Tensor:
        """(E, S) styles of emotions.

        The plain one is what many latents agree on most; other seeds and variants are single
        latents.

        Raises:
            InputError: the networks do not know an emotion.
        """
        known = self.manipulator.settings.emotions
        unknown = [name for name in names if name not in known]
        if unknown:
            raise InputError(
                f"the learned director does not know '{unknown[0]}', only {', '.join(known)}; "
                "use --director procedural"
            )
        networks = self.manipulator.networks
        plain = variant is None and seed == 0
        generator = torch.Generator().manual_seed(0 if plain else 1000 * (variant or 0) + seed + 1)
        count = _LATENTS if plain else 1
        latents = torch.randn(count, networks.settings.latent, generator=generator)
        styles = torch.stack([styles_of_latent(networks, each[None]) for each in latents])
        found = torch.stack([densest(styles[:, k]) for k in range(len(known))])
        return strengthened(found, self.manipulator)[[known.index(name) for name in names]]

    def change(
        self, performance: Performance, direction: Direction, activity: Activity
    ) -> NDArray[np.float32]:
        """(T, U) wanted change: towards the reference's style, or those of the timeline's emotions.

        Raises:
            InputError: The networks do not know an emotion, or there is none and no reference.
        """
        if self.reference is not None:
            strength = direction.intensity * self.exaggeration
            share = np.full((len(performance), 1), strength, np.float32)
            return self.towards(performance, self.reference[None], share)
        if direction.timeline is None:
            raise InputError("emotions are needed; give --emotion or --timeline")
        styles = self.styles(direction.emotions, direction.seed, direction.variant)
        return self.towards(performance, styles, direction.weights(performance.times))

    def towards(
        self, performance: Performance, styles: Tensor, weights: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """The change of units that styles ask for.

        Args:
            styles: (E, S). weights: (T, E) how far to go from the clip's own style to each; more
                than 1 goes beyond it. What several styles change adds up: between styles, the
                stronger one drowns the other.

        Returns:
            (T, U), exactly 0 where all weights are.
        """
        present, times = performance.track.present, performance.times
        units = bridge(performance.units, present)
        own = self.style_of_units(performance.units[present], times[present])
        return self.change_from(own, units, times, styles, weights)

    @torch.inference_mode()
    def change_from(
        self,
        own: Tensor,
        units: NDArray[np.float32],
        times: NDArray[np.float64],
        styles: Tensor,
        weights: NDArray[np.floating],
    ) -> NDArray[np.float32]:
        """The same for (T, U) units at (T,) seconds, all seen, whose own style (S,) is known."""
        units, even = even_rate(units, times)
        wanted = np.stack([np.interp(even, times, w) for w in weights.T], axis=1)
        networks, length = self.manipulator.networks, self.manipulator.settings.window
        lacking = max(length - len(units), 0)
        given = self._given(np.pad(units, ((0, lacking), (0, 0)), mode="edge"))
        wanted = np.pad(wanted, ((0, lacking), (0, 0)), mode="edge")
        share = torch.from_numpy(wanted.astype(np.float32))
        taps = torch.from_numpy(window_weights(length).astype(np.float32))
        mixed = torch.einsum("wle,l->we", windows_of(share, length), taps)
        windows = windows_of(given, length)
        added = torch.zeros_like(windows)
        for part in torch.arange(len(windows)).split(_BATCH):
            here = networks.generator(windows[part], own.expand(len(part), -1))
            for style, weight in zip(styles, mixed[part].T, strict=True):
                if weight.any():
                    moved = own + weight[:, None] * (style - own)
                    added[part] += networks.generator(windows[part], moved) - here
        spread = torch.from_numpy(self.manipulator.spread)
        even_change = (overlap_add(added, "averaged") * spread).numpy()[: len(even)]
        change = np.stack([np.interp(times, even, c) for c in even_change.T], axis=1)
        change[~weights.any(1)] = 0
        return change.astype(np.float32)

    def style_of_units(self, units: NDArray[np.float32], times: NDArray[np.float64]) -> Tensor:
        """(S,) the same of (T, U) units at (T,) seconds, all seen."""
        return reference_style(self.manipulator.networks, [self._given(even_rate(units, times)[0])])

    def _given(self, units: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(self.manipulator.normalised(units))


def strengthened(styles: Tensor, manipulator: Manipulator) -> Tensor:
    """(E, S) styles of all emotions, away from neutral by the gain that the networks come with.

    Networks shrink what they have learned; those without a gain, such as NED's, stay as they are.
    """
    known = manipulator.settings.emotions
    if "neutral" not in known:
        return styles
    neutral = styles[known.index("neutral")]
    return neutral + float(manipulator.record.get("gain", 1.0)) * (styles - neutral)


def densest(points: Tensor) -> Tensor:
    """(N, S) -> (S,) mean of the quarter of the points that lies closest together.

    Unlike the mean of all, it does not fall between two ways to show an emotion, such as contempt
    on either side of the face.
    """
    count = max(len(points) // 4, 1)
    distance, near = torch.cdist(points, points).topk(count, largest=False)
    return points[near[distance[:, -1].argmin()]].mean(0)


def even_rate(
    units: NDArray[np.float32], times: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """(T, U) at (T,) seconds -> the same at (about) the networks' frame rate, and its times."""
    if len(times) < 3:
        return units, times
    rate = 1 / max(float(np.median(np.diff(times))), 1e-3)
    if _RATE / _SLACK <= rate <= _RATE * _SLACK:
        return units, times
    even = np.arange(times[0], times[-1] + 1e-9, 1 / _RATE)
    columns = [np.interp(even, times, column) for column in units.T]
    return np.stack(columns, axis=1).astype(np.float32), even
