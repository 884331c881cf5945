"""Device: where networks run, and whether they may count with short numbers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

from ned.core.errors import InputError
from ned.core.files.checkpoint import require_torch

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "float32", "bfloat16"]

log = logging.getLogger(__name__)


def find_device(name: str = "auto") -> torch.device:
    """The torch device of a name: auto (CUDA if there is any), cpu, cuda, cuda:1 ...

    Raises:
        InputError: It is not a device, or not in this machine; or torch is not installed.
    """
    torch = require_torch("running networks")
    if name == "auto":
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        log.info("networks run on %s", device)
        return device
    try:
        device = torch.device(name)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"'{name}' is no device; auto, cpu, cuda or cuda:1 is accepted") from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"'{name}' is not supported; auto, cpu, cuda or cuda:1 is accepted")
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise InputError(f"device '{name}' is not in this machine ({count} GPUs); use cpu")
    return device


def is_short_fast(device: torch.device) -> bool:
    """True where bfloat16 is faster than float32: GPUs from Ampere on, CPUs that multiply it."""
    torch = require_torch("running networks")
    if device.type == "cuda":
        return bool(torch.cuda.get_device_capability(device)[0] >= 8)
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    # emulated on other CPUs, and then slower
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in tests)
