"""Options of the commands that work through data sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from tyro.conf import arg

from ned.core.errors import InputError

FlameReconstructor = Literal["deca", "flame-fit"]
Address = Annotated[str | None, arg(metavar="HOST:PORT", help_behavior_hint="")]


@dataclass(frozen=True)
class ReconstructOptions:
    """Reconstruct FLAME codes of face images: images/<clip>/000000.png and so on."""

    celeb: Path
    """The folder that holds 'images'; the codes go to its 'DECA'."""
    reconstructor: FlameReconstructor = "deca"
    """How: by DECA's networks, or by fitting FLAME to landmarks."""
    pickles: bool = False
    """Also write NED's DECA/<clip>/000000.pkl and so on."""
    device: str = "auto"
    """Where networks run: auto, cpu, cuda or cuda:1."""
    address: Address = None
    """A Ray cluster; by default the clips run on this machine."""

    def __post_init__(self) -> None:
        """Check the choices; raises InputError."""
        _check_reconstructor(self.reconstructor)


@dataclass(frozen=True)
class MeadOptions:
    """Reconstruct the clips of MEAD that NED learns from: <root>/<actor>/video/front/..."""

    root: Path
    """The folder that holds the actors' folders; '<actor>_deca.pkl' are written here."""
    actors: tuple[str, ...]
    """The actors, such as M003 M009 W029."""
    reconstructor: FlameReconstructor = "deca"
    """How: by DECA's networks, or by fitting FLAME to landmarks."""
    device: str = "auto"
    """Where networks run: auto, cpu, cuda or cuda:1."""
    address: Address = None
    """A Ray cluster; by default the clips run on this machine."""

    def __post_init__(self) -> None:
        """Check the choices; raises InputError."""
        _check_reconstructor(self.reconstructor)
        if not self.actors:
            raise InputError("--actors names nobody; give one or more, such as M003 M009")
        for actor in self.actors:
            if not actor or Path(actor).name != actor:
                raise InputError(f"--actors: {actor!r} is no plain folder name, such as M003")


@dataclass(frozen=True)
class AffWildOptions:
    """Cut out the annotated faces of Aff-Wild2's videos: <save_dir>/images/<video>/000000.png."""

    videos_path: Path
    """The folder of the videos."""
    annotations_path: Path
    """The folder of the annotations: <video>.txt, a line per frame."""
    save_dir: Path
    """Where the faces go."""
    address: Address = None
    """A Ray cluster; by default the videos run on this machine."""


def _check_reconstructor(name: str) -> None:
    known = get_args(FlameReconstructor)
    if name not in known:
        raise InputError(f"--reconstructor is {name!r}, give {' or '.join(known)}")
