"""Training page: web/index.html shows in pictures how a renderer learns; it needs no server."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray

from ned.core.files.frame_files import encode_png
from ned.core.files.json_files import parse_json
from ned.core.files.records import write_atomically

_SHOWN = 4  # frames of a sample that are put into its picture
_GRAPH = (640, 160)  # pixels


@dataclass(frozen=True, eq=False)
class HeldOutSample:
    """Some held-out frames, drawn at a moment of the training.

    Attributes:
        epoch, step: when. psnr: inside the masks, in dB. frames: their numbers.
        conditioning: (C, S, S) uint8 each, of which the first three channels are shown.
        made, filmed: (S, S, 3) uint8 each.
    """

    epoch: int
    step: int
    psnr: float
    frames: Sequence[int]
    conditioning: Sequence[NDArray[np.uint8]]
    made: Sequence[NDArray[np.uint8]]
    filmed: Sequence[NDArray[np.uint8]]


class TrainingPage:
    """A folder with index.html, one picture per sample, and what was measured."""

    def __init__(self, folder: Path, what: str = "a neural renderer", given: str = "NMFC") -> None:
        """Say where, what is trained, and what it is given that the page shows."""
        self.folder, self._what, self._given = folder, what, given

    def add(self, sample: HeldOutSample) -> None:
        """Add a sample, or replace that of the same step; raises OutputError."""
        name = f"step_{sample.step:07d}.png"
        write_atomically(self.folder / name, encode_png(columns_of_frames(sample)))
        rows = [row for row in self._rows() if row["step"] < sample.step]
        rows.append(
            {"epoch": sample.epoch, "step": sample.step, "psnr": sample.psnr, "picture": name}
        )
        data = (json.dumps(rows, indent=1) + "\n").encode()
        write_atomically(self.folder / "looks.json", data)
        write_atomically(self.folder / "index.html", self._page(rows, sample).encode())

    def _rows(self) -> list[dict[str, Any]]:
        """Earlier samples; none where the file was not written by `add`."""
        try:
            rows = parse_json((self.folder / "looks.json").read_text())
            for row in rows:
                known = {"epoch", "step", "psnr", "picture"} <= set(row)  # texts are escaped
                if not known or type(row["step"]) is not int or not math.isfinite(row["psnr"]):
                    return []
            return list(rows)
        except (OSError, ValueError, TypeError, KeyError):
            return []

    def _page(self, rows: Sequence[dict[str, Any]], sample: HeldOutSample) -> str:
        values = [float(row["psnr"]) for row in rows]
        source = files("renderer").joinpath("training_page.html.j2").read_text("utf-8")
        # what a folder's own records hold is text, whatever they say
        page = Environment(autoescape=True, undefined=StrictUndefined).from_string(source)
        return page.render(
            title=f"Training of {self._what}",
            given=self._given,
            frames=sample.frames,
            rows=rows,
            low=min(values),
            high=max(values),
            width=_GRAPH[0],
            height=_GRAPH[1],
            line=_line(values),
        )


def columns_of_frames(sample: HeldOutSample, shown: int = _SHOWN) -> NDArray[np.uint8]:
    """A column for some of the frames; from above what was given, the drawn face, the filmed."""
    chosen = np.unique(np.linspace(0, len(sample.made) - 1, shown).round().astype(int))
    columns = [
        np.concatenate(
            [np.moveaxis(sample.conditioning[k][:3], 0, 2), sample.made[k], sample.filmed[k]]
        )
        for k in chosen
    ]
    return np.ascontiguousarray(np.concatenate(columns, axis=1))


def _line(values: Sequence[float]) -> str:
    """Points of a polyline through the values, from left to right, in a graph's pixels."""
    width, height = _GRAPH
    spread = max(max(values) - min(values), 1e-6)
    return " ".join(
        f"{10 + (width - 20) * k / max(1, len(values) - 1):.1f},"
        f"{height - 10 - (height - 20) * (value - min(values)) / spread:.1f}"
        for k, value in enumerate(values)
    )
