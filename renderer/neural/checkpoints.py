"""Checkpoints: the folder of an actor's renderer: networks by epoch, and what training resumes."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ned.core.errors import AssetError, InputError, OutputError, quoted, reason
from ned.core.files.checkpoint import load_weights
from ned.core.files.json_files import parse_json
from ned.core.files.partial import Partial
from ned.core.files.records import write_atomically
from renderer.neural.settings import TrainingSettings

if TYPE_CHECKING:
    from renderer.neural.trainer import Trainer

NETWORKS = {"generator": "G", "image": "D", "mouth": "Dm", "eyes": "De"}
PUBLISHED_EPOCH, LATEST, BEST = "20", "latest", "best"
STATE = "training_state.pth"
RECORD = "training.json"
_NAME = re.compile(r"(\w+?)_net_G\.pth")
_FORMAT = "ned-renderer-training-1"


def network_file(folder: Path, epoch: str, network: str) -> Path:
    """Where one of NETWORKS lies, such as 20_net_G.pth."""
    return folder / f"{epoch}_net_{NETWORKS[network]}.pth"


def epochs_in(folder: Path) -> list[str]:
    """The epochs whose generators lie in a folder, numbers first, in order."""
    found = [match[1] for path in folder.glob("*_net_G.pth") if (match := _NAME.match(path.name))]
    return sorted(found, key=lambda name: (not name.isdigit(), name.zfill(9)))


def find_generator(folder: Path, epoch: str | None = None) -> Path:
    """The generator of an epoch.

    If none is named: the latest of `ned train-renderer`, and of a published folder 20, else latest.

    Raises:
        InputError: The folder is none, or has no such epoch; the line lists those that there are.
    """
    if not folder.is_dir():
        raise InputError(
            f"{quoted(folder)} is not a folder; give that of the actor's renderer, as "
            "`ned train-renderer` makes it"
        )
    known = epochs_in(folder)
    if not known:
        raise InputError(
            f"{quoted(folder)} holds no renderer (a file like {PUBLISHED_EPOCH}_net_G.pth); train "
            "one with `ned train-renderer`"
        )
    usual = [PUBLISHED_EPOCH, LATEST]
    if read_record(folder):
        usual.reverse()
    wanted = [epoch] if epoch is not None else [*usual, known[-1]]
    for name in wanted:
        if name in known:
            return network_file(folder, name, "generator")
    raise InputError(f"epoch {epoch} is not in {quoted(folder)}; there are {', '.join(known)}")


def save_networks(folder: Path, epochs: tuple[str, ...], trainer: Trainer) -> None:
    """Write generator and discriminators under NED's names; raises OutputError.

    Each file is there whole or stays what it was.
    """
    networks = {"generator": trainer.generator, **trainer.judges}
    for epoch in epochs:
        for name, network in networks.items():
            save_tensors(network_file(folder, epoch, name), network.state_dict())


def load_networks(folder: Path, epoch: str | None, trainer: Trainer) -> str:
    """Give a trainer the networks of a folder; returns the epoch's name.

    Raises:
        InputError: There is no such epoch, or a file is damaged.
        AssetError: A network is missing, or of another layout or width than the settings tell.
    """
    from renderer.neural.networks import load_discriminator, load_generator

    path = find_generator(folder, epoch)
    name = path.name.removesuffix("_net_G.pth")
    networks = {"generator": (trainer.generator, load_generator)} | {
        region: (judge, load_discriminator) for region, judge in trainer.judges.items()
    }
    for network, (own, load) in networks.items():
        path = network_file(folder, name, network)
        if not path.is_file():
            raise AssetError(
                f"{quoted(path)} is missing; training goes on from generator and discriminators "
                "together, put it beside the others"
            )
        given = load(path)
        if given.width != own.width:
            flag = "--width" if network == "generator" else "--judge-width"
            raise AssetError(
                f"{quoted(path)} is {given.width} channels wide, {own.width} were asked for; "
                f"give {flag} {given.width}"
            )
        own.load_state_dict(given.state_dict())
    return name


def save_state(folder: Path, settings: TrainingSettings, state: Mapping[str, Any]) -> None:
    """Write what training goes on from; raises OutputError, and keeps the state before."""
    whole = {"format": _FORMAT, "settings": json.dumps(dataclasses.asdict(settings)), **state}
    save_tensors(folder / STATE, whole)


def load_state(folder: Path, settings: TrainingSettings) -> dict[str, Any] | None:
    """What a run before has left; None if there was none.

    Raises:
        InputError: It is damaged, or learns in another way than is asked for now.
    """
    path = folder / STATE
    if not path.exists():
        return None
    advice = "give --restart to begin anew, or another folder"
    try:
        state = load_weights(path)
    except InputError as error:
        raise InputError(f"{quoted(path)} is damaged; {advice}") from error
    try:
        before = dict(parse_json(state["settings"]))
    except (KeyError, ValueError, TypeError):
        before = None
    if before is None or state.get("format") != _FORMAT:
        raise InputError(f"{quoted(path)} is not a state of this trainer; {advice}")
    now = dataclasses.asdict(settings)
    free = {"epochs", "patience"}  # may change on the way
    for name, value in now.items():
        value = list(value) if isinstance(value, tuple) else value
        if name not in free and before.get(name) != value:
            raise InputError(
                f"{quoted(folder)} was begun with {name} {before.get(name)}, not {value}; {advice}"
            )
    return state


def write_record(folder: Path, values: Mapping[str, Any]) -> None:
    """Write training.json: settings, frames that were held out, face model; raises OutputError."""
    write_atomically(folder / RECORD, (json.dumps(dict(values), indent=1) + "\n").encode())


def read_record(folder: Path) -> dict[str, Any]:
    """What `write_record` wrote; empty for folders of other trainers, or what cannot be read."""
    try:
        values = parse_json((folder / RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def picture_size(folder: Path) -> int:
    """Side in pixels of the pictures that a renderer was trained on, 256 if nothing tells.

    Raises:
        InputError: What its record tells is no size.
    """
    size = TrainingSettings.size
    try:
        size = read_record(folder).get("settings", {}).get("size", size)
        return TrainingSettings(size=int(size), roi=8).size
    except (AttributeError, TypeError, ValueError, InputError) as error:
        raise InputError(
            f"{quoted(folder / RECORD)} tells of pictures of size {size!r}; train the renderer "
            "again, or put the record back that lay beside it"
        ) from error


def save_tensors(path: Path, value: Any) -> None:
    """Write what `torch.save` takes, whole or not at all; raises OutputError."""
    import torch

    partial = Partial(path)
    try:
        try:
            with partial.address.open("wb") as file:
                torch.save(value, file)
        except (RuntimeError, OSError) as error:  # torch tells of a full disk in its own way
            raise OutputError(
                f"{quoted(path)} cannot be written: {reason(error)[:120]}; what it held before is "
                "kept; free some space, then give the same command"
            ) from error
        partial.publish()
    finally:
        partial.discard()
