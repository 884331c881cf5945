"""ManipulatorSettings: how emotions behave over a performance."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ManipulatorSettings:
    """How the procedural manipulator behaves; times in seconds.

    Attributes:
        sustain: an activation that lasts this long is expression rather than accent.
        accents_kept: share of the source's passing brow and lid movement that remains.
        busy_loss: share of the mouth's emotional change that fast speech takes away.
        rounding_loss: share of it that rounded lips (o, u, w) take away.
        closing_loss: share of it that lips take away that close briefly (m, b, p).
        life: amplitude of the slow drift of each unit, as a share of its target.
        closed_share: share of an emotion's lip shape that closed lips take on; corners take all.
        lid_bounds: most that an emotion may close and open an eye, as shares of its opening.
    """

    sustain: float = 0.7
    accents_kept: float = 0.7
    busy_loss: float = 0.25
    rounding_loss: float = 0.5
    closing_loss: float = 0.4
    life: float = 0.06
    closed_share: float = 0.3
    lid_bounds: tuple[float, float] = (0.4, 0.5)


DEFAULTS = ManipulatorSettings()
