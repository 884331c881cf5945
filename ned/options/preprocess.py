"""Options of `preprocess`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ned.core.errors import InputError

Masks = Literal["auto", "mesh", "fsgan"]
Landmarks = Literal["mesh", "face-alignment"]
MODES = ("train", "test", "reference")


@dataclass(frozen=True)
class PreprocessOptions:
    """Prepare the folder of one actor: crops, masks, landmarks, 3D faces and pictures of them."""

    celeb_path: Positional[Path]
    """The actor's folder; the footage lies in its sub-folder 'videos'."""
    mode: Annotated[Positional[str], arg(metavar="{train,test,reference}")]
    """train: a renderer will learn from it; test: it will be edited; reference: its expressions
    will be taken over."""
    reconstructor: str = "rig"
    """The 3D face: our rig, FLAME by networks (deca), or FLAME fitted to landmarks (flame-fit). The
    last two need files that you have to get (`ned assets`)."""
    masks: Masks = "auto"
    """Which pixels are the face: mesh (tracked), fsgan (a network, slow), or auto: fsgan with
    deca where its file is there."""
    landmarks: Landmarks = "mesh"
    """Landmarks of eyes, mouth and alignment: of the tracked mesh, or by the package
    face-alignment, which NED used (slow; pip install 'ned[landmarks68]')."""
    split: int = 50
    """Frames per sequence of footage for training; a shorter rest at the end is left out."""
    keep_all: bool = False
    """Also write full_frames, and faces, nmfcs and shapes as they are before alignment."""
    actor: int = 0
    """Which face, counted from 0 for the largest."""
    device: str = "auto"
    """Where networks run: auto, cpu, cuda or cuda:1."""

    def __post_init__(self) -> None:
        """Check every range; raises InputError."""
        if self.mode not in MODES:
            raise InputError(
                f"the mode is {self.mode!r}, give {', '.join(MODES[:-1])} or reference"
            )
        if self.split < 3:
            raise InputError(f"--split is {self.split}, give 3 frames or more")
        if self.actor < 0:
            raise InputError(f"--actor is {self.actor}, give 0 or more")
