"""Processes: several that train one renderer together, each with its share of the clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from ned.core.errors import InputError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

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
        reduced = self.fabric.all_reduce(values * (own / size), reduce_op="sum")
        assert isinstance(reduced, Tensor)
        return reduced

    def average(self, gradients: Sequence[Tensor], size: int) -> None:
        """Replace gradients of shares by those of all `size` things."""
        if self.fabric is None:
            return
        flat, start = self.mean(torch.cat([one.flatten() for one in gradients]), size), 0
        for one in gradients:
            one.copy_(flat[start : start + one.numel()].view_as(one))
            start += one.numel()

    def whole(self, share: Tensor, size: int) -> Tensor:
        """All `size` rows of what every process has its share of, in order."""
        if self.fabric is None:
            return share
        most = -(-size // self.count)
        padded = torch.cat([share, share[:1].expand(most - len(share), *share.shape[1:])])
        gathered = self.fabric.all_gather(padded)
        assert isinstance(gathered, Tensor)
        return gathered.transpose(0, 1).flatten(0, 1)[:size]

    def told(self, value: Told) -> Told:
        """What the first process says."""
        return value if self.fabric is None else self.fabric.broadcast(value)

    def any(self, value: bool) -> bool:
        """True if it is in one of them."""
        if self.fabric is None:
            return value
        flag = torch.tensor(float(value), device=self.fabric.device)
        reduced = self.fabric.all_reduce(flag, reduce_op="sum")
        return bool(reduced > 0)  # type: ignore[operator]


def launch(kind: str, numbers: Sequence[int]) -> tuple[Processes, torch.device]:
    """Start the others with this command once more; returns this one's place and device.

    Args:
        kind: "cpu" or "cuda". numbers: of GPUs; of CPU processes only how many they are counts.

    Raises:
        InputError: Lightning Fabric is not installed.
    """
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise InputError(
            "training on several devices needs lightning-fabric; pip install 'ned[neural]'"
        ) from error
    devices: Any = len(numbers) if kind == "cpu" else list(numbers)
    fabric = Fabric(accelerator=kind, devices=devices, strategy="ddp")
    fabric.launch()
    return Processes(fabric.world_size, fabric.global_rank, fabric), fabric.device
