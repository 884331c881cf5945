"""Options of `postprocess`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from tyro.conf import Positional, arg

from ned.core.errors import InputError
from ned.core.film.encoder import Quality

Method = Literal["pyramid", "copy_paste", "poisson"]
Place = Literal["frame", "crop", "box"]


@dataclass(frozen=True)
class PostprocessOptions:
    """Draw an experiment's faces into the actor's full frames, and write them as films."""

    celeb_path: Positional[Path]
    """The actor's folder, preprocessed in test mode."""
    exp_name: Positional[str]
    """The experiment: a sub-folder, as named with manipulator/test.py."""
    checkpoints_dir: Positional[Path | None] = None
    """The actor's trained renderer: a folder of `ned train-renderer` or `ned train-hybrid`."""
    renderer: str = "auto"
    """Who draws: warp (the frame's own pixels, as `ned direct`; needs no training), hybrid or
    neural (networks of <checkpoints_dir>), or auto: what lies in <checkpoints_dir> (by default
    ./checkpoints where there is one), else the warp."""
    shading: float = 1.0
    """With warp and hybrid: strength of the light and shade of new folds, 0 to 1."""
    quality: Quality = "delivery"
    """How the films are encoded: draft (fast), delivery (looks like the source) or master."""
    codec: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """The films' encoder, as for `ned direct`; by default the container's."""
    which_epoch: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """The renderer's epoch; by default the latest, or 20 of a folder that NED trained."""
    gpu_ids: Annotated[str, arg(metavar="ID")] = "auto"
    """The GPU to render on; -1 is the CPU."""
    skip_render: bool = False
    """Use the faces that lie in <exp_name>/faces_aligned already."""
    method: Method = "pyramid"
    """How faces are blended: band by band, cut out hard, or in the colours around them."""
    levels: int = 4
    """Halvings of the pyramid."""
    copied_levels: int = 0
    """How many of the coarsest bands stay as they were filmed."""
    blend_at: Place = "frame"
    """Where: in the frame (once resampled), or as NED did in the crop, or at the crop's box."""
    keep_all: bool = False
    """Also write the unaligned faces and the blended crops."""

    def __post_init__(self) -> None:
        """Check every range; raises InputError."""
        for flag, value, kind in (
            ("method", self.method, Method),
            ("blend-at", self.blend_at, Place),
        ):
            if value not in get_args(kind):
                known = ", ".join(get_args(kind))
                raise InputError(f"--{flag} is {value!r}, give one of {known}")
        if not 0 <= self.shading <= 1:
            raise InputError(f"--shading is {self.shading:g}, give 0 to 1")
