"""Hybrid sheet: the picture in docs/rendering.md, of the talking portrait that tests are made with.

    python -m benchmarks.hybrid_sheet docs/hybrid.jpg [--minutes 4]

A hybrid renderer learns the first three quarters of the clip. Columns show held-out frames; from
above: the frame that is moved, the warp, the hybrid, and what the clip shows.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
from pathlib import Path

import cv2
import numpy as np

from benchmarks import footage

SECONDS, HELD_OUT, COLUMNS = 8.0, 0.25, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--minutes", type=float, default=4.0)
    options = parser.parse_args()

    from ned.commands.train_hybrid import footage_of, train_hybrid
    from ned.options.train_hybrid import TrainHybridOptions
    from renderer.hybrid.reenactment import reenact
    from renderer.hybrid.renderer import HybridRenderer

    portrait = cv2.resize(footage.portrait(), (512, 512))
    with tempfile.TemporaryDirectory() as name:
        clip, model = Path(name) / "talk.mp4", Path(name) / "model"
        importlib.import_module("conftest").write_talking_clip(clip, portrait, SECONDS)
        trained = TrainHybridOptions((clip,), model, minutes=options.minutes, held_out=HELD_OUT)
        for line in train_hybrid(trained):
            print(line)
        testing = footage_of([clip], 256).divided(HELD_OUT)[1]
        gap = np.linalg.norm(testing.landmarks[:, 13] - testing.landmarks[:, 14], axis=1)
        wide, shut = np.argsort(-gap)[: 3 * COLUMNS : 6], np.argsort(gap)[: 3 * COLUMNS : 6]
        pairs = [*zip(wide, shut, strict=True), *zip(shut, wide, strict=True)]
        targets, sources = (np.array(part) for part in zip(*pairs, strict=True))
        renderer = HybridRenderer.load(model)
        columns = [
            np.concatenate([testing.pictures[one.source], one.warped, one.drawn, one.filmed])
            for one in reenact(testing, targets, sources, renderer.memory, renderer)
        ]
    sheet = np.concatenate(columns, axis=1)[..., ::-1]
    small = cv2.resize(sheet, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(options.output), small, [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    main()
