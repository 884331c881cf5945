"""Shading: folds and bulges tied to units, as soft log-ratio textures on the face's own surface."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from deca.rig import Rig


@dataclass(frozen=True)
class TextureFrame:
    """The rectangle of the neutral face's frontal plane that a shading texture covers.

    Attributes:
        left, top: face units of the texture's first corner (x to the image's right, y up).
        width, height: face units covered. density: texels per face unit.
    """

    left: float = -0.85
    top: float = 0.80
    width: float = 1.70
    height: float = 2.25
    density: int = 100

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the texture."""
        return round(self.height * self.density), round(self.width * self.density)

    def coordinates(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """(V, 3) face points -> (V, 2) texels (column, row), texel centres at integers."""
        columns = (points[:, 0] - self.left) * self.density - 0.5
        rows = (self.top - points[:, 1]) * self.density - 0.5
        return np.stack([columns, rows], axis=1).astype(np.float32)

    def grid(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Face coordinates (x, y) of every texel centre."""
        rows, columns = self.shape
        x = self.left + (np.arange(columns, dtype=np.float32) + 0.5) / self.density
        y = self.top - (np.arange(rows, dtype=np.float32) + 0.5) / self.density
        columns_x, rows_y = np.meshgrid(x, y)
        return columns_x, rows_y


class Shading:
    """Log-ratio texture as a linear function of unit changes (ratio images: Liu et al., 2001).

    Lines that a muscle draws are dark with a lit flank; what it lifts catches light. The maps are
    authored in configs/shading.yaml; their amounts saturate so that folds never turn black.
    """

    def __init__(self, rig: Rig, limits: tuple[float, float] = (0.45, 0.12)) -> None:
        self.frame = TextureFrame()
        self.limits = limits  # most darkening and most lightening, log ratio
        maps = _load_maps(rig)
        self.columns = np.array(sorted(maps))
        self.textures = np.stack([maps[c] for c in self.columns])
        self._flat = self.textures.reshape(len(self.columns), -1)

    def texture(self, change: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """(U,) change of activations -> (rows, columns) log ratio, or None if there is none.

        Negative changes take shade away: relaxing a furrowed brow lightens the furrow, but only
        half as much, because a picture does not tell how deep its own fold is.
        """
        amounts = change[self.columns]
        amounts = np.where(amounts < 0, 0.5 * amounts, amounts)
        active = np.abs(amounts) > 1e-3
        if not active.any():
            return None
        total = amounts[active] @ self._flat[active]
        darkest, lightest = self.limits
        limit = np.where(total < 0, np.float32(darkest), np.float32(lightest))
        shade = limit * np.tanh(total / limit)
        return np.asarray(shade, np.float32).reshape(self.frame.shape)


@lru_cache(maxsize=1)
def _load_maps(rig: Rig) -> dict[int, NDArray[np.float32]]:
    import yaml

    text = resources.files("configs").joinpath("shading.yaml").read_text(encoding="utf-8")
    data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    x, y = TextureFrame().grid()
    maps: dict[int, NDArray[np.float32]] = {}
    entries = [(e, _fold) for e in data["folds"]] + [(e, _patch) for e in data["patches"]]
    for entry, draw in entries:
        columns = rig.columns(entry["unit"])
        right, left = draw(entry, -x, y), draw(entry, x, y)
        if len(columns) == 1:
            drawn = {columns[0]: np.where(np.abs(right) > np.abs(left), right, left)}
        else:
            drawn = {columns[0]: right, columns[1]: left}
        for column, image in drawn.items():
            maps[column] = maps.get(column, np.zeros_like(x)) + image
    return maps


def _fold(entry: dict, out: NDArray[np.float32], up: NDArray[np.float32]) -> NDArray[np.float32]:
    """A tapering dark line along a smooth curve, with its lit flank; (out, up) of each texel."""
    knots = np.array(entry["points"], np.float32)
    along = np.linspace(0, 1, 48)
    powers = np.vander(np.linspace(0, 1, len(knots)))
    curve = np.vander(along, len(knots)) @ np.linalg.solve(powers, knots.astype(np.float64))
    starts_on_midline = knots[0][0] == 0
    taper = np.sin(np.pi * along) ** 0.6
    if starts_on_midline:
        taper = np.cos(np.pi / 2 * along) ** 0.6
    width, lit = entry["width"], np.array(entry["lit"], np.float32)
    lit /= np.linalg.norm(lit)

    def line(shift: float, sigma: float) -> NDArray[np.float32]:
        points = (curve + shift * lit).astype(np.float32)
        low, high = points.min(0) - 5 * sigma, points.max(0) + 5 * sigma
        near = (out > low[0]) & (out < high[0]) & (up > low[1]) & (up < high[1])
        squared = (out[near][:, None] - points[:, 0]) ** 2 + (up[near][:, None] - points[:, 1]) ** 2
        image = np.zeros_like(out)
        image[near] = (np.exp(-squared / np.float32(2 * sigma**2)) * taper).max(-1)
        return image

    flank = entry["light"] * line(2.2 * width, 1.4 * width)
    return entry["depth"] * (flank - line(0, width))


def _patch(entry: dict, out: NDArray[np.float32], up: NDArray[np.float32]) -> NDArray[np.float32]:
    """A soft ellipse of light (or shadow)."""
    (centre_out, centre_up), (radius_out, radius_up) = entry["centre"], entry["radius"]
    squared = ((out - centre_out) / radius_out) ** 2 + ((up - centre_up) / radius_up) ** 2
    return (entry["depth"] * np.exp(-2 * squared)).astype(np.float32)
