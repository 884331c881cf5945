"""Checkpoints: trained manipulators on disk, NED's and ours.

```
<folder>/02_nets.pth                  NED's: state dicts of the four networks in one torch file
         02_nets_finetuned.pth        the same, trained on from others
         02_nets.safetensors          ours: the same tensors, and what they are made for
         02_nets_finetuned.safetensors
```
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import AssetError, InputError, quoted
from ned.core.files.checkpoint import load_strict, load_weights
from ned.core.files.json_files import parse_json
from ned.core.files.records import write_atomically
from ned.core.files.tensor_files import read_metadata, read_tensors

if TYPE_CHECKING:
    from manipulator.networks import Networks, NetworkSettings
    from manipulator.unrolled_generator import UnrolledGenerator

LATEST = "latest"

_FORMAT = "ned-manipulator-1"
_NAME = re.compile(r"(\d{2,})_nets(_finetuned)?\.(safetensors|pth)")


@dataclass(eq=False)
class Manipulator:
    """Trained networks, and what they are made for.

    Attributes:
        networks: generator, mapping network, style encoder (and discriminator, unless left out).
        face_model: "rig" or "flame". unit_names: (V) columns; empty for FLAME.
        mean, spread: (V,) float32; the networks see (values - mean) / spread.
        record: how it was trained, as written beside the weights.
        path: the file it came from.
    """

    networks: Networks
    face_model: str
    unit_names: tuple[str, ...] = ()
    mean: NDArray[np.float32] = field(default_factory=lambda: np.zeros(51, np.float32))
    spread: NDArray[np.float32] = field(default_factory=lambda: np.ones(51, np.float32))
    record: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @property
    def settings(self) -> NetworkSettings:
        """Sizes and emotions."""
        return self.networks.settings

    @cached_property
    def short_generator(self) -> UnrolledGenerator:
        """The generator in bfloat16."""
        from manipulator.unrolled_generator import UnrolledGenerator

        return UnrolledGenerator(self.networks.generator)

    def normalised(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """(..., V) values as the networks see them."""
        return ((values - self.mean) / self.spread).astype(np.float32)

    def restored(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """The inverse of `normalised`."""
        return (values * self.spread + self.mean).astype(np.float32)


@dataclass(frozen=True, order=True)
class CheckpointFile:
    """One file of a folder; finetuned ones sort after others."""

    finetuned: bool
    epoch: int
    path: Path = field(compare=False)


def list_checkpoints(folder: Path) -> list[CheckpointFile]:
    """Checkpoints in a folder by epoch, the finetuned ones last; ours win over NED's."""
    found: dict[tuple[bool, int], CheckpointFile] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match:
            one = CheckpointFile(match[2] is not None, int(match[1]), path)
            if path.suffix == ".safetensors" or (one.finetuned, one.epoch) not in found:
                found[one.finetuned, one.epoch] = one
    return sorted(found.values())


def find_checkpoint(folder: Path, epoch: str = LATEST) -> Path:
    """The file of an epoch; where there are two, the finetuned one.

    Args:
        folder: of checkpoints, or a single file, which is taken whatever the epoch.
        epoch: a number or "latest".

    Raises:
        InputError: The epoch is no number, or the folder has no such epoch.
        AssetError: There is no checkpoint at all.
    """
    if folder.is_file():
        return folder
    found = list_checkpoints(folder)
    if not found:
        what = "holds no" if folder.is_dir() else "does not exist, there is no"
        raise AssetError(
            f"{quoted(folder)} {what} manipulator checkpoint such as 02_nets.pth or "
            "02_nets.safetensors; train one with `ned train-manipulator`, or get NED's published "
            "one (`ned assets`) and name its folder with --checkpoints_dir"
        )
    if epoch == LATEST:
        return found[-1].path
    if not epoch.isdigit():
        raise InputError(f"--which_epoch is {epoch!r}, give a number or {LATEST}")
    named = [one for one in found if one.epoch == int(epoch)]
    if not named:
        there = ", ".join(dict.fromkeys(str(one.epoch) for one in found))
        raise InputError(
            f"{quoted(folder)} has no epoch {int(epoch)}; --which_epoch can be {there} or {LATEST}"
        )
    return named[-1].path


def load_manipulator(path: Path) -> Manipulator:
    """Read a checkpoint of ours or of NED's, strictly.

    Raises:
        InputError: The file is missing or damaged. AssetError: It is not a manipulator.
    """
    state = load_weights(path)
    metadata = _metadata(path)
    manipulator = _described(path, metadata) if metadata else _published()
    manipulator.path = path
    load_networks(manipulator.networks, state, path)
    manipulator.networks.eval().requires_grad_(False)
    return manipulator


def load_networks(networks: Networks, state: Mapping[str, Any], path: Path) -> None:
    """Fill four networks from a file's tensors, nested as NED's or flat as ours.

    The discriminator may be missing as a whole: nothing but training needs it.

    Raises:
        AssetError: names of networks or parameters that are missing or do not fit.
    """
    from manipulator.networks import NETWORKS

    parts: dict[str, dict[str, Any]] = {}
    for key, value in state.items():
        if isinstance(value, Mapping):
            parts[key] = {str(name).removeprefix("module."): v for name, v in value.items()}
        elif "/" in key:
            network, name = key.split("/", 1)
            parts.setdefault(network, {})[name] = value
    missing = [name for name in NETWORKS[:3] if name not in parts]
    if missing:
        raise AssetError(
            f"{quoted(path)} is no manipulator: it has no {' and no '.join(missing)}; "
            "give a file such as 02_nets.pth"
        )
    for name in NETWORKS:
        if name in parts:
            load_strict(getattr(networks, name), parts[name], path)


def save_manipulator(manipulator: Manipulator, path: Path, discriminator: bool = True) -> None:
    """Write one .safetensors atomically; raises OutputError."""
    import torch
    from safetensors.torch import save

    from manipulator.networks import NETWORKS

    tensors = {
        f"{name}/{key}": value.detach().cpu().contiguous()
        for name in (NETWORKS if discriminator else NETWORKS[:3])
        for key, value in getattr(manipulator.networks, name).state_dict().items()
    }
    tensors["normalisation/mean"] = torch.from_numpy(manipulator.mean.astype(np.float32))
    tensors["normalisation/spread"] = torch.from_numpy(manipulator.spread.astype(np.float32))
    metadata = {
        "format": _FORMAT,
        "face_model": manipulator.face_model,
        "unit_names": json.dumps(manipulator.unit_names),
        "settings": json.dumps(manipulator.settings.to_dict()),
        "record": json.dumps(dict(manipulator.record), default=str),
    }
    write_atomically(path, save(tensors, metadata))


def checkpoint_name(epoch: int, finetuned: bool) -> str:
    """The file name of an epoch."""
    return f"{epoch:02d}_nets{'_finetuned' * finetuned}.safetensors"


def _metadata(path: Path) -> dict[str, str] | None:
    """What a .safetensors says of itself; None for a torch file."""
    try:
        return read_metadata(path) or {"format": "none"}
    except ValueError:
        return None


def _published() -> Manipulator:
    from manipulator.networks import NED, Networks

    return Manipulator(Networks(NED), "flame")


def _described(path: Path, metadata: Mapping[str, str]) -> Manipulator:
    from manipulator.networks import Networks, NetworkSettings

    if metadata.get("format") != _FORMAT:
        raise AssetError(f"{quoted(path)} is not a manipulator of format {_FORMAT}")
    try:
        settings = NetworkSettings.from_dict(parse_json(metadata["settings"]))
        kept = ("normalisation/mean", "normalisation/spread")
        _, normalisation = read_tensors(path, only=kept)
        mean, spread = (normalisation[name] for name in kept)
        names = tuple(parse_json(metadata["unit_names"]))
        face_model, record = metadata["face_model"], parse_json(metadata["record"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AssetError(
            f"{quoted(path)} does not say what it was made for ({str(error)[:80]}); "
            "train or get it again"
        ) from error
    if face_model not in ("rig", "flame") or {mean.shape, spread.shape} != {(settings.values,)}:
        raise AssetError(f"{quoted(path)} contradicts itself; train or get it again")
    return Manipulator(Networks(settings), face_model, names, mean, spread, record)
