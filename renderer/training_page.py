"""Training page: web/index.html shows in pictures how a renderer learns; it needs no server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ned.core.files.frame_files import encode_png
from ned.core.files.records import write_atomically

_SHOWN = 4  # frames of a look that are put into its picture
_GRAPH = (640, 160)  # pixels
_STYLE = (
    "body{font:16px sans-serif;margin:2em;background:#fff;color:#222}"
    "img{max-width:100%}svg{border:1px solid #ccc}section{margin-top:2em}"
)


@dataclass(frozen=True, eq=False)
class Look:
    """Held-out frames drawn after an epoch.

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
    """A folder with index.html, one picture per look, and what was measured."""

    def __init__(self, folder: Path, what: str = "a neural renderer", given: str = "NMFC") -> None:
        """Say where, what is trained, and what it is given that the page shows."""
        self.folder, self._what, self._given = folder, what, given

    def add(self, look: Look) -> None:
        """Add a look, or replace that of the same step; raises OutputError."""
        name = f"step_{look.step:07d}.png"
        write_atomically(self.folder / name, encode_png(contact_sheet(look)))
        rows = [row for row in self._rows() if row["step"] < look.step]
        rows.append({"epoch": look.epoch, "step": look.step, "psnr": look.psnr, "picture": name})
        data = (json.dumps(rows, indent=1) + "\n").encode()
        write_atomically(self.folder / "looks.json", data)
        write_atomically(self.folder / "index.html", self._page(rows, look).encode())

    def _rows(self) -> list[dict[str, Any]]:
        try:
            return list(json.loads((self.folder / "looks.json").read_text()))
        except (OSError, ValueError):
            return []

    def _page(self, rows: Sequence[dict[str, Any]], look: Look) -> str:
        title = f"Training of {self._what}"
        sections = [
            f"<section><h2>epoch {row['epoch']}, step {row['step']}: {row['psnr']:.2f} dB</h2>"
            f'<img src="{escape(row["picture"])}" alt="held-out frames after step {row["step"]}">'
            "</section>"
            for row in reversed(rows)
        ]
        frames = f"{look.frames[0]} to {look.frames[-1]}"
        return (
            f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            f"<style>{_STYLE}</style></head><body><h1>{title}</h1>"
            f"<p>Held-out frames {frames}: above what the renderer is given ({self._given}), then"
            " what it draws, then what was filmed. PSNR is that inside the mask.</p>"
            f"{_graph([float(row['psnr']) for row in rows])}{''.join(sections)}</body></html>\n"
        )


def contact_sheet(look: Look, shown: int = _SHOWN) -> NDArray[np.uint8]:
    """Columns of frames; from above NMFC, the drawn face, the filmed face."""
    chosen = np.unique(np.linspace(0, len(look.made) - 1, shown).round().astype(int))
    columns = [
        np.concatenate(
            [np.moveaxis(look.conditioning[k][:3], 0, 2), look.made[k], look.filmed[k]], axis=0
        )
        for k in chosen
    ]
    return np.ascontiguousarray(np.concatenate(columns, axis=1))


def _graph(values: Sequence[float]) -> str:
    """PSNR over looks as a line."""
    width, height = _GRAPH
    low, high = min(values), max(values)
    spread = max(high - low, 1e-6)
    points = " ".join(
        f"{10 + (width - 20) * k / max(1, len(values) - 1):.1f},"
        f"{height - 10 - (height - 20) * (value - low) / spread:.1f}"
        for k, value in enumerate(values)
    )
    return (
        f'<svg width="{width}" height="{height}" role="img" '
        f'aria-label="PSNR from {low:.2f} to {high:.2f} dB">'
        f'<polyline points="{points}" fill="none" stroke="#06c" stroke-width="2"/></svg>'
        f"<p>{low:.2f} to {high:.2f} dB over {len(values)} looks</p>"
    )
