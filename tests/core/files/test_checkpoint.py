"""Checkpoints: weights come out, everything else is one line."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ned.core.errors import AssetError, InputError  # noqa: E402
from ned.core.files.checkpoint import load_strict, load_weights  # noqa: E402


class Runs:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_weights(path)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_checkpoints_nest_and_hold_plain_values(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "model.tar"
    state = {"E_flame": {"a": torch.arange(3)}, "epoch": 4, "loss": np.float64(0.5)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    read = load_weights(path)
    assert torch.equal(read["E_flame"]["a"], torch.arange(3))
    assert read["epoch"] == 4 and read["loss"] == 0.5


def test_safetensors_are_told_by_their_content(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2, 2)}, tmp_path / "weights.bin")
    assert torch.equal(load_weights(tmp_path / "weights.bin")["a"], torch.ones(2, 2))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("guest", [argparse.Namespace(x=1), Runs()], ids=["object", "call"])
def test_more_than_weights_is_refused_by_name(tmp_path: Path, guest: Any, zipped: bool) -> None:
    path = tmp_path / "guest.pth"
    torch.save({"a": guest}, path, _use_new_zipfile_serialization=zipped)
    name = "argparse.Namespace" if isinstance(guest, argparse.Namespace) else "system"
    assert name in refused(path)


def test_truncated_and_other_files_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "cut.pth"
    for zipped in (True, False):
        torch.save({"a": torch.zeros(99)}, path, _use_new_zipfile_serialization=zipped)
        data = path.read_bytes()
        for cut in (0, 1, 9, 60, len(data) // 2, len(data) - 3):
            path.write_bytes(data[:cut])
            refused(path)
    save_file({"a": torch.zeros(99)}, path)
    data = path.read_bytes()
    for cut in (20, len(data) - 3):
        path.write_bytes(data[:cut])
        refused(path)
    path.write_text("no weights at all")
    refused(path)
    torch.save([torch.zeros(2)], path)
    assert "list" in refused(path)
    refused(tmp_path / "nothing.pth")
    refused(tmp_path)


def test_strict_loading_copies_or_names_the_keys(tmp_path: Path) -> None:
    network = torch.nn.Linear(3, 2)
    good = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    load_strict(network, good, tmp_path / "a.pth")
    assert torch.equal(network.weight, good["weight"])
    before = network.weight.clone()
    for state, said in (
        ({"weight": good["weight"]}, "misses bias"),
        ({**good, "extra": good["bias"]}, "unknown extra"),
        ({**good, "weight": torch.ones(2, 4)}, r"weight \(2, 4\), needs \(2, 3\)"),
        ({**good, "bias": "text"}, "misses bias"),
        ({f"k{i}": 0 for i in range(9)}, "and 6 more"),
    ):
        with pytest.raises(AssetError, match=said) as caught:
            load_strict(network, state, tmp_path / "a.pth")
        assert "\n" not in str(caught.value) and "a.pth" in str(caught.value)
    assert torch.equal(network.weight, before)
