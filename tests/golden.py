"""Golden: numeric vectors of the published networks, which ours must reproduce.

The folder is NED_GOLDEN (or shared/golden beside the repository); another folder of the same
structure can take its place.
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from places import ROOT


class Golden:
    """Arrays, tolerances, weights and key lists of one golden folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.salt = int((folder / "salt.txt").read_text().strip())
        self.manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
        self._files: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """The arrays of a file, such as golden["bbox.npz"]["boxes"]."""
        if name not in self._files:
            self._files[name] = np.load(self.folder / name)
        return self._files[name]

    def json(self, name: str) -> Any:
        """A JSON file of the folder, such as the lists of network keys."""
        return json.loads((self.folder / name).read_text())

    def module(self, name: str) -> ModuleType:
        """A Python file of the folder: `synthetic_weights` or `synthetic_flame`."""
        spec = importlib.util.spec_from_file_location(f"golden_{name}", self.folder / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def fill(self, network: Any, scope: str) -> None:
        """Give a torch network the synthetic weights of a scope such as "generator/"."""
        state = network.state_dict()
        self.module("synthetic_weights").fill_(state, self.salt, scope)
        network.load_state_dict(state)

    def check(self, file: str, name: str, value: Any, outliers: float | None = None) -> None:
        """Compare an array with its golden twin within the manifest's tolerance.

        Args:
            outliers: share of elements that may lie outside; the manifest's own if None.
        """
        meta = self.manifest[file]["arrays"][name]
        wanted = np.asarray(self[file][name])
        given = np.asarray(value)
        assert given.size == wanted.size, f"{file}:{name} {given.shape}, golden {wanted.shape}"
        given = given.reshape(wanted.shape).astype(np.float64)
        wanted = wanted.astype(np.float64)
        apart = np.abs(given - wanted)
        bad = ~(apart <= meta.get("atol", 0)) & ~(np.isnan(given) & np.isnan(wanted))
        allowed = meta.get("max_outlier_frac", 0.0) if outliers is None else outliers
        assert bad.mean() <= allowed, (
            f"{file}:{name}: {bad.mean():.4%} of the elements differ by more than "
            f"{meta.get('atol', 0)} (largest {np.nanmax(apart):.3g}); {meta.get('note', '')}"
        )


def find_golden() -> Golden:
    """The golden folder; skips the test where there is none."""
    root = ROOT
    folder = Path(os.environ.get("NED_GOLDEN") or root.parent / "shared" / "golden")
    if not (folder / "manifest.json").is_file():
        pytest.skip(f"needs golden vectors in {folder}; set NED_GOLDEN to a folder of them")
    return Golden(folder)
