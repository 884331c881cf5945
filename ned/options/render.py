"""Options of `render` and `train-renderer`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ned.core.errors import InputError
from renderer.neural.settings import Adversarial, Perceptual, TrainingSettings

Precision = Literal["auto", "float32", "bfloat16"]  # as in ned.core.device, which is heavier
_DEFAULT = TrainingSettings()
Name = Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")]


@dataclass(frozen=True)
class RenderOptions:
    """Draw the aligned faces of an experiment, or of the actor's own held-out frames (--self)."""

    celeb: Path
    """The actor's folder, preprocessed in test mode."""
    exp_name: Name = None
    """The experiment: a sub-folder, as named with manipulator/test.py."""
    checkpoints_dir: Path = Path("checkpoints")
    """The actor's trained renderer: files like 20_net_G.pth."""
    which_epoch: Name = None
    """The epoch to use; by default the latest, or 20 of a folder that NED trained."""
    own: Annotated[bool, arg(name="self")] = False
    """Draw the frames that were not trained on from their own parameters, and measure. A hybrid
    (--checkpoints-dir of `ned train-hybrid`) makes them of each other."""
    gpu_ids: Annotated[str, arg(metavar="ID")] = "auto"
    """The GPU to use; -1 is the CPU."""
    precision: Precision = "auto"
    """How to count: bfloat16 is faster where the machine has it."""

    def __post_init__(self) -> None:
        """Check that it is clear what to draw; raises InputError."""
        if (self.exp_name is None) != self.own:
            raise InputError("give either --exp-name NAME, or --self for the actor's own frames")
        device_of(self.gpu_ids)


@dataclass(frozen=True)
class TrainRendererOptions:
    """Train the neural renderer of one actor (NED's layout); the same command goes on later."""

    celeb: Path
    """The actor's folder, preprocessed in train or test mode."""
    checkpoints_dir: Path = Path("checkpoints")
    """Where the renderer's files are written."""
    load_pretrain: Path | None = None
    """Begin with the networks of this folder, such as NED's meta-renderer."""
    which_epoch: Name = None
    """Which epoch of --load-pretrain; by default the latest, or 20 of a folder that NED trained."""
    niter: int = _DEFAULT.epochs
    """Epochs: how often every sequence of footage is seen."""
    minutes: float | None = None
    """Stop after so many minutes; the same command goes on from there."""
    batch_size: int = _DEFAULT.batch
    """Clips side by side."""
    gpu_ids: Annotated[str, arg(metavar="ID")] = "auto"
    """The GPU to use, or several such as 0,1 that share the clips; -1 is the CPU."""
    size: int = _DEFAULT.size
    """Side of the pictures in pixels."""
    width: int = _DEFAULT.width
    """Channels of the generator's first layer (NED's ngf); half of them train four times faster."""
    judge_width: int = _DEFAULT.judge_width
    """The same of the discriminators (NED's ndf)."""
    lr: float = _DEFAULT.rate
    """Learning rate."""
    gan_mode: Adversarial = _DEFAULT.adversarial
    """What discriminators learn by: squared error, or hinge."""
    perceptual: Perceptual = _DEFAULT.perceptual
    """Distance of pictures: vgg (needs `ned assets`), structure (needs nothing), auto, none."""
    eyes: bool = _DEFAULT.eyes
    """A discriminator of the eyes too."""
    held_out: float = _DEFAULT.held_out
    """Share of the frames, at the end, that are not trained on."""
    patience: int = _DEFAULT.patience
    """Stop after so many looks (one a minute at most) at held-out frames without gain; 0 never."""
    seed: int = _DEFAULT.seed
    """Of first weights and of everything random."""
    restart: bool = False
    """Begin anew instead of going on from what lies in --checkpoints-dir."""
    precision: Precision = "auto"
    """How to count: bfloat16 is faster where the machine has it."""

    def __post_init__(self) -> None:
        """Check every range; raises InputError."""
        sharing = len(devices_of(self.gpu_ids))
        if sharing > self.batch_size:
            raise InputError(
                f"--batch-size {self.batch_size} cannot be shared by {sharing} devices; give "
                f"--batch-size {sharing} or more, or fewer --gpu-ids"
            )
        if self.minutes is not None and not self.minutes > 0:
            raise InputError(f"--minutes is {self.minutes}, give more than 0")
        if self.which_epoch is not None and self.load_pretrain is None:
            raise InputError("--which-epoch tells which epoch of --load-pretrain; give that too")
        _ = self.settings

    @property
    def settings(self) -> TrainingSettings:
        """What the trainer is told."""
        return TrainingSettings(
            epochs=self.niter,
            batch=self.batch_size,
            size=self.size,
            roi=max(8, self.size * _DEFAULT.roi // _DEFAULT.size // 2 * 2),
            width=self.width,
            judge_width=self.judge_width,
            rate=self.lr,
            adversarial=self.gan_mode,
            perceptual=self.perceptual,
            eyes=self.eyes,
            held_out=self.held_out,
            patience=self.patience,
            seed=self.seed,
        )


@dataclass(frozen=True)
class ExportRendererOptions:
    """Write an actor's trained generator as an ONNX file, compared with onnxruntime."""

    checkpoints_dir: Positional[Path]
    """The actor's trained renderer: files like 20_net_G.pth."""
    output: Positional[Path]
    """The file to write, such as renderer.onnx."""
    which_epoch: Name = None
    """The epoch to use; by default the latest, or 20 of a folder that NED trained."""
    overwrite: bool = False
    """Replace a file of this name that this program did not make."""


def device_of(gpu_ids: str) -> str:
    """A device's name as `find_device` takes it, of NED's --gpu_ids.

    Raises:
        InputError: It is something else, or several GPUs.
    """
    names = devices_of(gpu_ids)
    if len(names) > 1:
        raise InputError(f"--gpu-ids is {gpu_ids!r}; one GPU is used at a time, give its number")
    return names[0]


def devices_of(gpu_ids: str) -> list[str]:
    """The same of one or several GPUs, or of as many CPU processes as there are -1.

    Raises:
        InputError: It is something else.
    """
    if gpu_ids == "auto":
        return ["auto"]
    try:
        numbers = [int(number) for number in gpu_ids.split(",")]
    except ValueError as error:
        raise InputError(f"--gpu-ids is {gpu_ids!r}, give a GPU's number, or -1 for CPU") from error
    gpus = [number for number in numbers if number >= 0]
    if gpus and (len(gpus) < len(numbers) or len(set(gpus)) < len(gpus)):
        raise InputError(f"--gpu-ids is {gpu_ids!r}; give different GPUs such as 0,1, or -1 alone")
    return [f"cuda:{number}" for number in gpus] or ["cpu"] * len(numbers)
