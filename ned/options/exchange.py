"""Options of `export` and `import`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


@dataclass(frozen=True)
class ExportOptions:
    """Write the FLAME codes of an actor as one .pkl per frame, for NED and other tools."""

    celeb_path: Positional[Path]
    """The actor's folder."""
    exp_name: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """Export this experiment's changed codes instead of the actor's own."""


@dataclass(frozen=True)
class ImportOptions:
    """Read an actor's .pkl files, as NED and DECA write them; nothing in them can run."""

    celeb_path: Positional[Path]
    """The actor's folder."""
    exp_name: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """Import this experiment's changed codes instead of the actor's own."""
