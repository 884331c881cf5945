"""Options of `manipulate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from tyro.conf import UseAppendAction, arg

from ned.core.errors import InputError
from ned.core.script.notation import check_intensity

Freeze = Literal["auto", "none", "jaw", "mouth"]
Edges = Literal["ned", "averaged"]
ManipulatorPrecision = Literal["float32", "bfloat16"]


def _words(
    trg_emotions: Annotated[
        tuple[tuple[str, ...], ...],
        UseAppendAction,
        arg(
            metavar="MIXTURE",
            help="Emotion to show: happy, happy:0.8 or happy:0.6+surprised:0.4. Several share each "
            "clip equally, one after the other.",
        ),
    ] = (),
) -> tuple[str, ...]:
    return tuple(word for group in trg_emotions for word in group)


def _folders(
    ref_dirs: Annotated[
        tuple[tuple[Path, ...], ...],
        UseAppendAction,
        arg(
            metavar="DIR",
            help="Actor's folder, preprocessed in reference mode, whose expressive style is taken "
            "over. Several share each clip equally.",
        ),
    ] = (),
) -> tuple[Path, ...]:
    return tuple(folder for group in ref_dirs for folder in group)


@dataclass(frozen=True)
class ManipulateOptions:
    """Translate the expressions of an actor's footage: the second stage of the staged road."""

    celeb: Path
    """The actor's folder, preprocessed in test mode."""
    checkpoints_dir: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """Folder (or file) of a trained manipulator: NED's 02_nets.pth or ours. By default
    ./manipulator_checkpoints where there is one, else the one that ships for the rig."""
    director: str = "auto"
    """Who says what changes: procedural (rules for the rig, as `ned direct`), learned (networks),
    or auto: learned where --checkpoints_dir or ./manipulator_checkpoints is there, or the face is
    FLAME; else procedural, which needs no torch."""
    trg_emotions: Annotated[tuple[str, ...], arg(constructor=_words)] = ()
    """Emotions to show, one after the other."""
    ref_dirs: Annotated[tuple[Path, ...], arg(constructor=_folders)] = ()
    """Folders of actors whose style is taken over."""
    timeline: Annotated[str | None, arg(metavar="KEYS", help_behavior_hint="")] = None
    """Emotions over time instead: "0:neutral 1.5:happy:0.8 4:angry", or a .yaml file."""
    emotions: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """Your own emotions, a .yaml file (docs/emotions.md). Networks do not know them, so that the
    rules of `ned direct` show everything; only with the rig."""
    exp_name: str = "exp"
    """The experiment: a sub-folder of the actor's for the result."""
    which_epoch: str = "latest"
    """Epoch of the checkpoint: a number, or latest."""
    intensity: float = 1.0
    """Multiplies every intensity, 0 to 1.5; 0 is as recorded."""
    freeze: Freeze = "auto"
    """What stays as it was spoken: none, jaw, or mouth (jaw and the opening of the lips; with the
    rig, blinks stay too and closing lips take less). auto: mouth for the rig, none for FLAME,
    whose files `mouth` needs."""
    seed: int = 0
    """Which of many ways to show an emotion."""
    edges: Edges = "ned"
    """First and last nine frames: by the outermost window alone as NED does, or averaged."""
    precision: ManipulatorPrecision = "float32"
    """bfloat16 is faster and good to about three digits."""
    frame_rate: float = 25.0
    """Frames per second that --timeline counts in, where the footage does not say."""
    device: str = "auto"
    """Where networks run: cpu, cuda or cuda:1; auto is the CPU, which is fast enough for a clip."""
    gpu_ids: Annotated[str | None, arg(metavar="ID", help_behavior_hint="")] = None
    """NED's word for --device: 0 is cuda:0, -1 the CPU."""

    def __post_init__(self) -> None:
        """Check every range; raises InputError."""
        given = {
            "--trg_emotions": bool(self.trg_emotions),
            "--ref_dirs": bool(self.ref_dirs),
            "--timeline": self.timeline is not None,
        }
        if sum(given.values()) != 1:
            said = " and ".join(flag for flag, is_given in given.items() if is_given) or "none"
            raise InputError(f"{said} given; give one of {', '.join(given)}")
        if self.emotions is not None and (self.ref_dirs or self.checkpoints_dir is not None):
            flag = "--ref_dirs" if self.ref_dirs else "--checkpoints_dir"
            raise InputError(
                f"--emotions and {flag} given; networks do not know your own emotions, "
                "leave out one"
            )
        check_intensity("--intensity", self.intensity)
        if not 1 <= self.frame_rate <= 1000:
            raise InputError(f"--frame-rate is {self.frame_rate:g}, give 1 to 1000")
        for flag, value, kind in (
            ("freeze", self.freeze, Freeze),
            ("edges", self.edges, Edges),
            ("precision", self.precision, ManipulatorPrecision),
        ):
            if value not in get_args(kind):
                raise InputError(f"--{flag} is {value!r}, give one of {', '.join(get_args(kind))}")
        device_of(self.device, self.gpu_ids)


def device_of(device: str, gpu_ids: str | None) -> str:
    """The device that --device and NED's --gpu_ids ask for; raises InputError."""
    if gpu_ids is None:
        return device
    first = gpu_ids.split(",")[0].strip()
    if first == "-1":
        return "cpu"
    if not first.isdigit():
        raise InputError(f"--gpu_ids is {gpu_ids!r}, give a number such as 0, or -1 for the CPU")
    return f"cuda:{first}"
