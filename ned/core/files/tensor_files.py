"""Tensor files: .safetensors of anyone, read so that what is wrong with them is a ValueError."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from ned.core.errors import reason

_SHOWN = 120  # characters of what the reader says


def read_metadata(path: Path) -> dict[str, str]:
    """What a file says of itself, without its tensors.

    Raises:
        ValueError: There is no such file, or it is damaged; in a few words.
    """
    return _read(path, "numpy", ())[0]


def read_tensors(
    path: Path, kind: Literal["numpy", "pt"] = "numpy", only: tuple[str, ...] | None = None
) -> tuple[dict[str, str], dict[str, Any]]:
    """What a file says of itself, and its tensors by name.

    Args:
        path: The file. kind: arrays of numpy, or tensors of torch.
        only: The tensors that are wanted, and must be there; all if None.

    Raises:
        ValueError: There is no such file, it is damaged, or holds numbers of a kind or shape that
            arrays cannot have; in a few words.
    """
    return _read(path, kind, only)


def _read(
    path: Path, kind: str, only: tuple[str, ...] | None
) -> tuple[dict[str, str], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, kind) as file:
            wanted = file.keys() if only is None else only
            tensors = {name: file.get_tensor(name) for name in wanted}
            return dict(file.metadata() or {}), tensors
    except (SafetensorError, OSError) as error:
        raise ValueError(reason(error)[:_SHOWN]) from error
    except (TypeError, AttributeError, ValueError, OverflowError, RuntimeError) as error:
        raise ValueError(f"numbers of an unknown kind or shape, {reason(error)[:_SHOWN]}") from (
            error
        )
