"""Processes: several that train the same networks together, each with its share of every batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ned.core.errors import InputError

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor

Told = TypeVar("Told")


@dataclass(frozen=True)
class Processes:
    """One that trains alone, or this one's place among several.

    Attributes:
        count: how many. rank: which this is; the first one, 0, writes.
    """

    count: int = 1
    rank: int = 0
    fabric: Fabric | None = None

    @property
    def first(self) -> bool:
        """True for the process that writes."""
        return self.rank == 0

    def share(self, size: int) -> list[int]:
        """Which of `size` things are this process's; the first thing if there are too few."""
        return list(range(self.rank, size, self.count)) or [0]

    def mean(self, values: Tensor, size: int) -> Tensor:
        """The mean over all `size` things of what is the mean over each process's share."""
        if self.fabric is None:
            return values
        own = len(range(self.rank, size, self.count))
        return self._sum(values * (own / size))

    def average(self, gradients: Sequence[Tensor], size: int) -> None:
        """Replace gradients of shares by those of all `size` things."""
        if self.fabric is None:
            return
        import torch

        flat, start = self.mean(torch.cat([one.flatten() for one in gradients]), size), 0
        for one in gradients:
            one.copy_(flat[start : start + one.numel()].view_as(one))
            start += one.numel()

    def whole(self, share: Tensor, size: int) -> Tensor:
        """All `size` rows of what every process has its share of, in order."""
        if self.fabric is None:
            return share
        import torch

        most = -(-size // self.count)
        padded = torch.cat([share, share[:1].expand(most - len(share), *share.shape[1:])])
        gathered = self.fabric.all_gather(padded)
        assert isinstance(gathered, torch.Tensor)
        return gathered.transpose(0, 1).flatten(0, 1)[:size]

    def told(self, value: Told) -> Told:
        """What the first process says."""
        return value if self.fabric is None else self.fabric.broadcast(value)

    def any(self, value: bool) -> bool:
        """True if it is in one of them."""
        if self.fabric is None:
            return value
        import torch

        return bool(self._sum(torch.tensor(float(value), device=self.fabric.device)) > 0)

    def _sum(self, values: Tensor) -> Tensor:
        assert self.fabric is not None
        reduced: Any = self.fabric.all_reduce(values, reduce_op="sum")
        return reduced


ALONE = Processes()


def launch(kind: str, devices: int | Sequence[int], precision: str = "float32") -> Fabric:
    """Where training runs; with several devices, this command is started once more for each other.

    Args:
        kind: "cpu" or "cuda". devices: how many, or the numbers of GPUs.
        precision: "float32", or "bfloat16" for mixed precision.

    Raises:
        InputError: Lightning Fabric is not installed.
    """
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise InputError(
            "this training needs lightning-fabric; pip install 'ned[neural]'"
        ) from error
    several = devices > 1 if isinstance(devices, int) else len(devices) > 1
    wanted: Any = devices if isinstance(devices, int) else list(devices)
    digits: Any = {"float32": "32-true", "bfloat16": "bf16-mixed"}[precision]
    strategy = "ddp" if several else "auto"
    fabric = Fabric(accelerator=kind, devices=wanted, strategy=strategy, precision=digits)
    fabric.launch()
    return fabric


def processes_of(fabric: Fabric) -> Processes:
    """This process's place among those that were launched."""
    if fabric.world_size == 1:
        return ALONE
    return Processes(fabric.world_size, fabric.global_rank, fabric)
