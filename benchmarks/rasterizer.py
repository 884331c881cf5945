"""Rasterizer: images per second, against the slow and readable twin that its tests use.

    python -m benchmarks.rasterizer [--runs 5] [--size 224] [--json rasterizer.json]

Draws an egg-shaped head of as many triangles as FLAME has (9,976) from several sides. The baseline
is tests/slow_rasterizer.py: the same arithmetic in numpy, every triangle at every pixel. Quoted
are medians; "interpolating" spreads eleven numbers per vertex (all that the conditioning images of
a frame need) over images that are drawn already; "conditioning of the rig" draws NMFC, shape, eye
sketch and mask of the default face at 256 x 256, from units to bytes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import table

LIMIT = 150  # images per second of 224 x 224 on two cores
RIG_LIMIT = 100  # frames per second, all pictures, on two cores
_ATTRIBUTES = 11


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--size", type=int, default=224, help="side of the images in pixels")
    parser.add_argument("--images", type=int, default=64, help="images per batch")
    parser.add_argument("--clips-folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data = measure(2 if options.quick else options.runs, options.size, options.images)
    print(report(data))
    table.save(options.json, data)


def measure(runs: int, size: int, images: int) -> dict[str, Any]:
    """All numbers of this script."""
    import numpy as np
    from slow_rasterizer import egg, rasterize_slowly

    from deca.rasterizer import interpolate, rasterize

    vertices, faces = egg()
    turns = np.linspace(-0.6, 0.6, images)
    cosine, sine, zero, one = np.cos(turns), np.sin(turns), 0 * turns, 1 + 0 * turns
    rotation = np.array([[cosine, zero, sine], [zero, one, zero], [-sine, zero, cosine]])
    centre = np.array([0, 0, 10])
    batch = ((vertices - centre) @ rotation.transpose(2, 0, 1) + centre).astype(np.float32)
    attributes = np.random.default_rng(0).normal(size=(images, len(vertices), _ATTRIBUTES))
    attributes = attributes.astype(np.float32)
    fragments = rasterize(batch, faces, size)
    interpolate(fragments, faces, attributes)

    slow = _seconds(lambda: rasterize_slowly(batch[0], faces, size), max(1, runs // 2))
    jobs: list[tuple[str, int, Callable[[], Any]]] = [
        ("a batch, 1 thread", images, lambda: rasterize(batch, faces, size, threads=1)),
        ("a batch, 2 threads", images, lambda: rasterize(batch, faces, size, threads=2)),
        ("one image, 1 thread", 1, lambda: rasterize(batch[:1], faces, size, threads=1)),
        ("one image, 2 threads", 1, lambda: rasterize(batch[:1], faces, size, threads=2)),
        (
            f"interpolating {_ATTRIBUTES}, 2 threads",
            images,
            lambda: interpolate(fragments, faces, attributes, threads=2),
        ),
    ]
    rows = []
    for name, count, job in jobs:
        turns_wanted = runs if count > 1 else 10 * runs
        rate = count / _seconds(job, turns_wanted)
        rows.append({"job": name, "rate": rate, "ratio": rate * slow})
    draw = conditioning(images)
    draw()
    rig_rate = images / _seconds(draw, runs)
    return {
        "machine": table.machine(),
        "rig_rate": rig_rate,
        "size": size,
        "triangles": len(faces),
        "coverage": float(fragments.coverage.mean()),
        "slow_rate": 1 / slow,
        "rows": rows,
    }


def conditioning(count: int) -> Callable[[], Any]:
    """A call that draws `count` frames of the default face, which turns and talks."""
    import numpy as np

    from deca.rig import load_rig
    from deca.rig_pictures import RigConditioner
    from ned.core.face.performance import Performance
    from ned.core.face.track import Track

    rig = load_rig()
    turns = np.linspace(-0.6, 0.6, count)
    cosine, sine, zero, one = np.cos(turns), np.sin(turns), 0 * turns, 1 + 0 * turns
    rotation = np.array([[cosine, zero, sine], [zero, one, zero], [-sine, zero, cosine]])
    units = np.zeros((count, len(rig)), np.float32)
    units[:, rig.index["jaw_open"]] = 0.5 + 0.5 * np.sin(np.arange(count))
    track = Track.empty(count, (256, 256))
    track.confidence[:] = 1
    performance = Performance(
        face_model="rig",
        unit_names=rig.names,
        identity=rig.mesh.neutral,
        units=units,
        track=track,
        parameters={
            "rotation": rotation.transpose(2, 0, 1).astype(np.float32),
            "scale": np.full(count, 90, np.float32),
            "translation": np.full((count, 2), 115, np.float32),
            "gaze": np.zeros((count, 2, 2), np.float32),
        },
    )
    points = performance.image_from_head(rig.mesh.neutral + rig.displacement(units))
    irises = np.repeat(points[:, [159, 386]], 5, axis=1)
    for frame, landmarks in enumerate(np.concatenate([points, irises], axis=1)):
        track.set_landmarks(frame, landmarks)
    crops = np.tile(np.eye(2, 3), (count, 1, 1))
    conditioner = RigConditioner(performance, rig)
    return lambda: conditioner.draw(0, count, crops, units[::-1])


def report(data: dict[str, Any]) -> str:
    """The numbers as Markdown."""
    rows = [["slow twin, one image", data["slow_rate"], 1.0, "-"]]
    for row in data["rows"]:
        drawing = "batch, 2" in row["job"] and data["size"] == 224
        interpolating = row["job"].startswith("interpolating")
        rows.append(
            [
                *(row["job"], row["rate"], None if interpolating else row["ratio"]),
                f"{table.verdict(row['rate'], LIMIT)} (>= {LIMIT})" if drawing else "-",
            ]
        )
    rig_rate = data["rig_rate"]
    met = table.verdict(rig_rate, RIG_LIMIT)
    rows.append(["conditioning of the rig, frames/s", rig_rate, None, f"{met} (>= {RIG_LIMIT})"])
    return "\n".join(
        [
            f"### Rasterizer ({data['machine']}; {data['triangles']:,} triangles, "
            f"{data['size']} x {data['size']}, {data['coverage']:.0%} covered)\n",
            table.markdown(["job", "images/s", "ratio to the slow twin", "met"], rows),
        ]
    )


def _seconds(work: Callable[[], Any], runs: int) -> float:
    """Median wall time of a call."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
