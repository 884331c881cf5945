"""Rig variance: how much of what real faces do the rig can express.

    python -m benchmarks.rig_variance [--clips talk_512 ...] [--json rig_variance.json]

X holds x and y of the 468 tracked points in the head frame: the fitted pose is taken away, so is
the way in which the tracker bends the face as the head turns (`FaceMesh.pose_bias`). Per clip

    explained = 1 - sum |residual - mean residual|^2 / sum |X - mean X|^2

where the residual is X minus identity and units, over the frames in which the face was seen and
turned less than --yaw degrees. "Pooled" adds the sums of all clips. "Rig, free" is plain least
squares on the same units, without signs, sparsity and smoothness: what lies between it and the rig
is the price of the fit, what lies above it is missing in the units. For comparison: 30 principal
components (unconstrained, both signs) of X - mean X of all clips together, and of all other clips,
which is what a learned basis of that size does on people it has not seen.
Needs real footage (NED_CLIPS or --clips-folder).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import footage, table

LIMIT = 0.92
COMPONENTS = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--clips-folder", type=Path)
    parser.add_argument("--clips", nargs="+", help="names without suffix; default all")
    parser.add_argument("--yaw", type=float, default=40.0, help="degrees; more is left out")
    parser.add_argument("--work", type=Path, help="keep performances here for the next run")
    parser.add_argument("--quick", action="store_true", help="two clips")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data = measure(options)
    print(report(data))
    table.save(options.json, data)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Shares of variance per clip and pooled."""
    names = options.clips or (["talk_512", "mead_W036_happy_3"] if options.quick else None)
    clips = footage.find_clips(footage.clips_folder(options.clips_folder), names)
    shapes: dict[str, NDArray[np.float64]] = {}
    residuals: dict[str, NDArray[np.float64]] = {}
    by_region: dict[str, dict[str, float]] = {}
    for clip in clips:
        shape, rest = head_shapes(_performance(clip, options.work), options.yaw)
        if len(shape) < 10:
            continue
        shapes[clip.stem], residuals[clip.stem] = shape - shape.mean(0), rest - rest.mean(0)
        by_region[clip.stem] = {
            name: _share(shapes[clip.stem][:, points], residuals[clip.stem][:, points])
            for name, points in _regions().items()
        }
    everything = _components(list(shapes.values()))
    span = _rig_span()
    rows = []
    for name, shape in shapes.items():
        others = [other for key, other in shapes.items() if key != name]
        rows.append(
            {
                "clip": name,
                "frames": len(shape),
                "rms": float(np.sqrt((shape**2).sum(-1).mean())),
                "rig": _share(shape, residuals[name]),
                "free": _share(shape, _without(shape, span)),
                **by_region[name],
                "pca": _share(shape, _without(shape, everything)),
                "pca_others": _share(shape, _without(shape, _components(others)))
                if others
                else float("nan"),
            }
        )

    def pooled(rest: list[NDArray[np.float64]]) -> float:
        total = sum(float((shape**2).sum()) for shape in shapes.values())
        return 1 - sum(float((each**2).sum()) for each in rest) / total

    regions = {
        name: _share(
            np.concatenate([shape[:, points] for shape in shapes.values()]),
            np.concatenate([rest[:, points] for rest in residuals.values()]),
        )
        for name, points in _regions().items()
    }
    rows.append(
        {
            "clip": "pooled",
            "frames": sum(row["frames"] for row in rows),
            "rms": None,
            "rig": pooled(list(residuals.values())),
            "free": pooled([_without(shape, span) for shape in shapes.values()]),
            **regions,
            "pca": pooled([_without(shape, everything) for shape in shapes.values()]),
            "pca_others": None,
        }
    )
    return {"rows": rows}


def report(data: dict[str, Any]) -> str:
    """The numbers as Markdown."""
    keys = ["clip", "frames", "rms", "rig", "free", *_regions(), "pca", "pca_others"]
    headings = [
        *("clip", "frames", "movement rms", "rig", "rig, free", *_regions()),
        *(f"{COMPONENTS} PCA, all clips", f"{COMPONENTS} PCA, other clips", f"rig >= {LIMIT:g}"),
    ]
    rows = [
        [
            *(row[key] for key in keys),
            table.verdict(row["rig"], LIMIT) if row["clip"] == "pooled" else "",
        ]
        for row in data["rows"]
    ]
    return "### Share of expression variance that the rig explains\n\n" + table.markdown(
        headings, rows
    )


def head_shapes(performance: Any, yaw: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, 468, 2) x and y in face units in the head frame, and what the fit leaves of them."""
    from deca.fitting import pose_features, residual
    from deca.rig import load_rig

    rig, track = load_rig(), performance.track
    kept = track.present & ~track.interpolated & (np.abs(performance.yaw) < yaw)
    pixels = residual(performance, rig)[kept].astype(np.float64)
    pixels[..., 2] -= pixels[..., 2].mean(1, keepdims=True)  # the fit keeps no depth of the head
    rotation, scale = performance.rotation[kept], performance.scale[kept]
    camera = pixels * np.array([1, -1, -1]) / scale[:, None, None]
    bias = pose_features(rotation) @ rig.mesh.pose_bias.reshape(5, -1)
    rest = camera @ rotation - bias.reshape(-1, 468, 3)
    fitted = performance.identity + rig.displacement(performance.units[kept])
    return (fitted + rest)[..., :2], rest[..., :2]


def _performance(clip: Path, work: Path | None) -> Any:
    from deca.fitting import fit
    from ned.commands.direct import track_actor
    from ned.core.face.performance import Performance
    from ned.core.film.clip import Clip

    saved = work / f"{clip.stem}.safetensors" if work is not None else None
    if saved is not None and saved.is_file():
        return fit(Performance.load(saved).track)  # the track is kept, the fit is measured
    performance = fit(track_actor(Clip.open(clip), 0))
    if saved is not None:
        saved.parent.mkdir(parents=True, exist_ok=True)
        performance.save(saved)
    return performance


def _regions() -> dict[str, list[int]]:
    """Mesh points by the part of the face whose units move them most."""
    from deca.rig import load_rig

    rig = load_rig()
    names = ("brows", "eyes", "mouth")
    reach = np.stack(
        [np.linalg.norm(rig.basis[np.array(rig.regions) == name], axis=2).max(0) for name in names]
    )
    owner = reach.argmax(0)
    return {name: np.flatnonzero(owner == k).tolist() for k, name in enumerate(names)}


def _components(shapes: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(30, D) principal directions of centred shapes of several clips."""
    if not shapes:
        return np.zeros((0, 468 * 2))
    flat = np.concatenate([shape.reshape(len(shape), -1) for shape in shapes])
    _, directions = np.linalg.eigh(flat.T @ flat)
    return directions[:, ::-1][:, :COMPONENTS].T


def _rig_span() -> NDArray[np.float64]:
    """(U', D) orthonormal directions of all that the units can show."""
    from deca.rig import load_rig

    rig = load_rig()
    flat = rig.basis[..., :2].reshape(len(rig), -1).astype(np.float64)
    _, sizes, directions = np.linalg.svd(flat, full_matrices=False)
    return directions[sizes > 1e-3 * sizes[0]]


def _without(shape: NDArray[np.float64], directions: NDArray[np.float64]) -> NDArray[np.float64]:
    flat = shape.reshape(len(shape), -1)
    return (flat - flat @ directions.T @ directions).reshape(shape.shape)


def _share(shape: NDArray[np.float64], rest: NDArray[np.float64]) -> float:
    return 1 - float((rest**2).sum() / (shape**2).sum())


if __name__ == "__main__":
    main()
