"""Size, fidelity outside the face and time of qualities: python -m benchmarks.formats CLIP..."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import get_args

import numpy as np

from ned.core.film.clip import Clip
from ned.core.film.encoder import EncoderSettings, Quality
from ned.core.film.video import VideoWriter

_EVERY = 5  # frames that are compared: every fifth


def psnr_outside(source: Clip, result: Clip) -> float:
    """Decibels of luma outside an ellipse in the middle, where faces are."""
    width, height = source.size
    y, x = np.mgrid[0:height, 0:width]
    across, down = (x / width - 0.5) / 0.25, (y / height - 0.5) / 0.45
    outside = across**2 + down**2 > 1
    squares = count = 0
    for before, after in zip(source.frames(), result.frames(), strict=True):
        if before.index % _EVERY == 0:
            error = before.planes[0].astype(int) - after.planes[0]
            squares, count = squares + int((error[outside] ** 2).sum()), count + outside.sum()
    top = 2**source.bit_depth - 1
    return float(10 * np.log10(top**2 * count / max(squares, 1)))


def main(paths: list[str], codec: str = "libx264") -> None:
    """Print a row of Markdown for each clip and quality."""
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            clip = Clip.open(path)
            for quality in get_args(Quality):
                target = Path(folder) / "result.mp4"
                start = time.perf_counter()
                with VideoWriter(target, clip, EncoderSettings(codec, quality)) as writer:
                    for frame in clip.frames():
                        writer.write(frame)
                seconds = time.perf_counter() - start
                share = target.stat().st_size / clip.path.stat().st_size
                decibels = psnr_outside(clip, Clip.open(target))
                numbers = f"{share:.2f} | {decibels:.1f} | {seconds:.1f}"
                print(f"| {clip.path.stem} | {quality} | {numbers} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
