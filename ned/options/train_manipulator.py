"""Options of `train-manipulator`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from tyro.conf import arg

from ned.core.errors import InputError
from ned.options.manipulate import ManipulatorPrecision, device_of

Database = Literal["mead", "aff-wild2", "synthetic", "folder"]
Names = Literal["csv", "crema-d", "ravdess"]
Size = Literal["auto", "ned", "rig"]


@dataclass(frozen=True)
class TrainManipulatorOptions:
    """Train the learned manipulator; a run that was killed goes on with the same command."""

    checkpoints_dir: Path = Path("manipulator_checkpoints")
    """Folder for a checkpoint per epoch, curves and pictures."""
    database: Database = "mead"
    """mead: <actor>_deca.pkl; aff-wild2: DECA/<video>; folder: any preprocessed actors with
    labels; synthetic: performances of the rig that are made up."""
    train_root: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """Folder of the data."""
    annotations_path: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")] = None
    """aff-wild2: folder of <video>.txt; folder: a CSV file with the columns clip, emotion, and if
    wanted actor."""
    names: Names = "csv"
    """What labels a folder's clips: the CSV file, or names as CREMA-D or RAVDESS has them."""
    selected_actors: tuple[str, ...] = ()
    """Actors to learn from; all but those for validation if none is named."""
    selected_actors_val: tuple[str, ...] = ()
    """Actors for validation, never learned from; a tenth of all if nobody is named."""
    emotions: tuple[str, ...] = ()
    """Labels to learn; NED's seven if none is named, and contempt for synthetic."""
    finetune: bool = False
    """Start from the weights of --finetune_epoch; files then get '_finetuned' in their names."""
    finetune_epoch: str = "20"
    """Epoch in --checkpoints_dir to start from with --finetune: a number, or latest."""
    niter: int = 10
    """Epochs."""
    niter_decay: int = 10
    """The rate falls over so many last epochs."""
    batch_size: int = 64
    """Windows per iteration."""
    seq_len: int = 10
    """Frames per window."""
    hop_len: int = 1
    """Frames from one window to the next."""
    lr: float = 1e-4
    """Adam's rate."""
    beta1: float = 0.0
    """Adam's first beta."""
    beta2: float = 0.99
    """Adam's second beta."""
    lambda_sty: float = 1.0
    """Weight of the style loss."""
    lambda_cyc: float = 1.0
    """Weight of the cycle loss."""
    lambda_mouth: float = 1.0
    """Weight of the mouth loss."""
    style_dim: int = 16
    """Numbers of a style."""
    latent_dim: int = 4
    """Numbers of the noise behind a style."""
    size: Size = "auto"
    """Widths of the networks: NED's, or small ones; auto: NED's for FLAME, small for the rig."""
    count: int = 800
    """Synthetic performances."""
    seed: int = 777
    """Of everything random."""
    save_every: int = 500
    """Iterations after which the state is kept besides at the end of epochs; 0: only there."""
    pictures: bool = True
    """Draw curves and faces of all emotions after every epoch."""
    restart: bool = False
    """Begin anew where an unfinished training lies in --checkpoints_dir."""
    precision: ManipulatorPrecision = "float32"
    """bfloat16: mixed precision, for GPUs."""
    device: str = "auto"
    """Where to train: auto, cpu, cuda or cuda:1."""
    devices: int = 1
    """GPUs (or processes of the CPU) to train with."""
    gpu_ids: Annotated[str | None, arg(metavar="ID", help_behavior_hint="")] = None
    """NED's word for --device: 0 is a GPU, -1 the CPU."""

    def __post_init__(self) -> None:
        """Check every range; raises InputError."""
        for flag, value, kind in (
            ("database", self.database, Database),
            ("names", self.names, Names),
            ("size", self.size, Size),
            ("precision", self.precision, ManipulatorPrecision),
        ):
            if value not in get_args(kind):
                raise InputError(f"--{flag} is {value!r}, give one of {', '.join(get_args(kind))}")
        for flag in ("niter", "batch_size", "hop_len", "count", "devices", "style_dim"):
            if getattr(self, flag) < 1:
                raise InputError(f"--{flag} is {getattr(self, flag)}, give 1 or more")
        for flag in ("niter_decay", "save_every", "lambda_sty", "lambda_cyc", "lambda_mouth"):
            if getattr(self, flag) < 0:
                raise InputError(f"--{flag} is {getattr(self, flag):g}, give 0 or more")
        if self.seq_len < 2 or self.latent_dim < 1:
            raise InputError(
                f"--seq_len is {self.seq_len}, give 2 or more"
                if self.seq_len < 2
                else f"--latent_dim is {self.latent_dim}, give 1 or more"
            )
        if not (0 < self.lr < 1 and 0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise InputError("--lr must lie in (0, 1), --beta1 and --beta2 in [0, 1)")
        if self.database != "synthetic" and self.train_root is None:
            raise InputError(f"--database {self.database} needs --train_root, the data's folder")
        needs_labels = self.database == "aff-wild2" or (
            self.database == "folder" and self.names == "csv"
        )
        if needs_labels and self.annotations_path is None:
            raise InputError(f"--database {self.database} needs --annotations_path, the labels")
        device_of(self.device, self.gpu_ids)
