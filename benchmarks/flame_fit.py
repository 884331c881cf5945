"""FLAME fit: vertex error, jitter and speed against per-frame least squares, on made-up takes.

    python -m benchmarks.flame_fit [--topology full] [--frames 150] [--takes 3] [--json out.json]

A take has a random identity, expressions and a jaw that move like speech, a turning head and a slow
zoom; everything about it is known. Its FLAME is made up (tests/flame_files.py), on the real
topology where NED_FLAME_SUPPORT has it. Tracked are the 105 points that FLAME shares with
MediaPipe's mesh and the outline of the jaw, with noise on every coordinate, and outliers.

Vertex error: mean distance of fitted and true vertices of the face (within 2.5 cm of a tracked
point), in the camera's frame at the true scale, mean depth taken away (weak perspective does not
show it). Jitter: root mean square of the second difference in time of that error. Compared are

- per frame: identity, expression, pose and camera of each frame by least squares with the same
  priors;
- shared identity: one identity, outliers weighed down, frames on their own;
- whole clip: `fit_flame`.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from benchmarks import table
from deca import flame_fit as fitting
from deca.flame_file import FlameFile, read_flame
from deca.flame_observation import OUTLINE
from deca.flame_points import EXPRESSION, MOTION, SHAPE, FlamePoints, outline_rows, project
from ned.core.face.track import Track

Array = NDArray[np.float64]
RATE = 25.0
NEAR = 0.025  # metres from a tracked point


@dataclass(frozen=True, eq=False)
class Take:
    """A made-up take and its answer.

    Attributes:
        track: what a tracker would see.
        identity: (100,).
        codes: (T, 50).
        motion: (T, 9) jaw, head, camera, as in `deca.flame_points`.
    """

    track: Track
    identity: Array
    codes: Array
    motion: Array


def made_up_take(
    model: FlamePoints,
    frames: int = 150,
    seed: int = 0,
    noise: float = 0.5,
    outliers: float = 0.01,
    height: float = 250.0,
) -> Take:
    """A take of 25 frames per second with `noise` pixels on a face of `height` pixels.

    Args:
        outliers: share of points, drawn anew in each frame, that lie 5 to 20 pixels off.
    """
    random = np.random.default_rng(seed)

    def wander(columns: int, hertz: float) -> Array:
        """(T, columns) of unit variance, slower than `hertz`."""
        blur = RATE / (2 * np.pi * hertz)
        raw = gaussian_filter1d(random.normal(size=(frames + 200, columns)), blur, axis=0)[100:-100]
        return raw / (raw.std(0) + 1e-9)

    identity = random.normal(size=SHAPE)
    codes = 0.4 * random.normal(size=EXPRESSION) + 0.5 * wander(EXPRESSION, 1.5)
    motion = np.zeros((frames, MOTION))
    motion[:, 0] = 0.06 * np.abs(wander(1, 2.5)[:, 0])
    motion[:, 1:3] = 0.01 * wander(2, 2.0)
    motion[:, 3:6] = wander(3, 0.5) * (0.1, 0.25, 0.06)
    span = np.ptp(model.seen.mean[0][:, 1]) * 1.4  # the shared points end above the chin
    motion[:, 6] = np.log(height / span) + 0.03 * wander(1, 0.3)[:, 0]
    motion[:, 7:] = 360 + 12 * wander(2, 0.5)

    person = model.fixed(identity)
    flat = project(person, person.seen, codes, motion, derive=False).pixels.transpose(0, 2, 1)
    line = project(
        person, person.outline.row(outline_rows(motion[:, 3:6])), codes, motion, derive=False
    ).pixels.transpose(0, 2, 1)
    depth = _depth(person, codes, motion)
    marks = np.concatenate([flat, depth[..., None]], axis=2).mean(1, keepdims=True)
    marks = np.repeat(marks, 478, axis=1)
    marks[:, model.points, :2], marks[:, model.points, 2] = flat, depth
    places = np.linspace(0, line.shape[1] - 1, len(OUTLINE))
    low = np.minimum(places.astype(int), line.shape[1] - 2)
    share = (places - low)[:, None]
    marks[:, list(OUTLINE), :2] = line[:, low] * (1 - share) + line[:, low + 1] * share
    marks = marks + noise * random.normal(size=marks.shape)
    wrong = random.random(marks.shape[:2]) < outliers
    angle, far = random.uniform(0, 2 * np.pi, wrong.sum()), random.uniform(5, 20, wrong.sum())
    marks[wrong, :2] += np.stack([far * np.cos(angle), far * np.sin(angle)], axis=1)

    track = Track.empty(frames, (720, 720))
    track.times[:] = np.arange(frames) / RATE
    track.confidence[:] = 1
    for frame in range(frames):
        track.set_landmarks(frame, marks[frame].astype(np.float32))
    return Take(track, identity, codes, motion)


def _depth(person: FlamePoints, codes: Array, motion: Array) -> Array:
    """(T, N) MediaPipe's z: pixels, smaller is nearer; of the still face, which is near enough."""
    head = Rotation.from_rotvec(motion[:, 3:6]).as_matrix()
    still = person.seen.mean[0] - person.seen.mean[0].mean(0)
    return -np.exp(motion[:, 6])[:, None] * (still @ head.transpose(0, 2, 1))[..., 2]


def fit_frames(take: Take, model: FlamePoints, noise: float, rounds: int = 8) -> Any:
    """Each frame by itself: (T, 100) identity, (T, 50) codes, (T, 9) motion."""
    settings = fitting.FlameFitSettings()
    heights = fitting.face_heights(take.track)
    frames = np.arange(len(take.track))
    prior = np.concatenate([np.ones(SHAPE), fitting.prior_precision(settings)])
    parts = []
    for start in range(0, len(frames), 32):
        seen = fitting.observe(take.track, model, frames[start : start + 32], heights)
        motion = fitting.starting_motion(model, seen)
        codes = np.zeros((len(motion), SHAPE + EXPRESSION))
        for _ in range(rounds):
            rest, slopes = fitting.whitened(model, seen, codes, motion, noise, np.inf)
            system = slopes.transpose(0, 2, 1) @ slopes + np.diag(prior)
            right = (slopes.transpose(0, 2, 1) @ rest[..., None])[..., 0]
            right += prior * np.concatenate([codes, motion], axis=1) * (np.arange(159) < 153)
            step = np.linalg.solve(system, -right[..., None])[..., 0]
            codes, motion = codes + step[:, :150], motion + step[:, 150:]
        parts.append(np.concatenate([codes, motion], axis=1))
    found = np.concatenate(parts)
    return found[:, :SHAPE], found[:, SHAPE:150], found[:, 150:]


class Faces:
    """Dense vertices of a take in camera space, in millimetres at the true scale."""

    def __init__(self, model: FlameFile, points: FlamePoints) -> None:
        tracked = np.concatenate([points.seen.mean[0], points.outline.mean[0, 0]])
        apart = np.linalg.norm(model.template[:, None] - tracked, axis=2).min(1)
        rows = np.flatnonzero(apart < NEAR)
        self.rows = rows
        self.model = model

    def place(self, identity: Array, codes: Array, motion: Array, scale: Array) -> Array:
        """(T, n, 3) millimetres; each frame's mean depth is zero."""
        import torch

        from deca.flame import Flame
        from deca.flame_landmarks import Embedding, FlameLandmarks

        none = FlameLandmarks(
            *(
                Embedding(np.zeros(shape, np.int64), np.zeros((*shape, 3), np.float32))
                for shape in ((51,), (79, 17), (68,))
            )
        )
        flame = Flame(self.model, none).double()
        pose = np.concatenate([motion[:, 3:6], motion[:, :3]], axis=1)
        with torch.no_grad():
            vertices = flame(*(torch.tensor(np.array(a)) for a in (identity, codes, pose))).vertices
        points = vertices.numpy()[:, self.rows] * np.exp(motion[:, 6])[:, None, None]
        points[..., :2] += motion[:, None, 7:] * (1, -1)
        points[..., 2] -= points[..., 2].mean(1, keepdims=True)
        return 1000 * points / scale[:, None, None]


def score(faces: Faces, take: Take, found: tuple[Array, Array, Array]) -> dict[str, float]:
    """Vertex error in mm, jitter in mm per frame squared."""
    identity, codes, motion = found
    scale = np.exp(take.motion[:, 6])
    true = faces.place(np.tile(take.identity, (len(codes), 1)), take.codes, take.motion, scale)
    apart = faces.place(identity, codes, motion, scale) - true
    bend = np.diff(apart, 2, axis=0)
    return {
        "error": float(np.linalg.norm(apart, axis=2).mean()),
        "jitter": float(np.sqrt((bend**2).sum(2).mean())),
    }


def found_by(
    take: Take, model: FlamePoints, settings: fitting.FlameFitSettings
) -> tuple[tuple[Array, Array, Array], fitting.FlameFit]:
    """What `fit_flame` finds, back in the units of a take."""
    fit = fitting.fit_flame(take.track, model, settings)
    codes = fit.codes
    motion = np.zeros((len(codes), MOTION))
    motion[:, :3], motion[:, 3:6] = codes.pose[:, 3:], codes.pose[:, :3]
    zoom, scale = codes.transforms[:, 0, 0], codes.camera[:, 0].astype(np.float64)
    motion[:, 6] = np.log(112 * scale / zoom)
    middle = 112 + 112 * scale[:, None] * codes.camera[:, 1:] * (1, -1)
    motion[:, 7:] = (middle - codes.transforms[:, :2, 2]) / zoom[:, None] + 0.5
    return (codes.shape.astype(float), codes.expression.astype(float), motion), fit


def without_smoothness(settings: fitting.FlameFitSettings) -> fitting.FlameFitSettings:
    """The same, with frames on their own."""
    names = ("expression", "jaw", "head", "scale", "place")
    return dataclasses.replace(settings, **{f"{name}_change": 0 for name in names})


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Scores of every method on every take."""
    from flame_files import write_flame_files

    with tempfile.TemporaryDirectory() as folder:
        files = write_flame_files(Path(folder), options.topology)
        model = read_flame(files.flame)
        points = fitting.load_flame_points(files.flame, files.landmarks, files.mediapipe)
    faces = Faces(model, points)
    whole = fitting.FlameFitSettings()
    apart = without_smoothness(whole)
    rows: dict[str, list[dict[str, float]]] = {
        "per frame": [],
        "shared identity": [],
        "whole clip": [],
    }
    for seed in range(options.takes):
        take = made_up_take(points, options.frames, seed, options.noise, options.outliers)
        begun = time.process_time()
        found, fit = found_by(take, points, whole)
        spent = time.process_time() - begun
        rows["whole clip"].append(score(faces, take, found) | {"seconds": spent})
        begun = time.process_time()
        found, _ = found_by(take, points, apart)
        spent = time.process_time() - begun
        rows["shared identity"].append(score(faces, take, found) | {"seconds": spent})
        begun = time.process_time()
        found = fit_frames(take, points, fit.noise)
        spent = time.process_time() - begun
        rows["per frame"].append(score(faces, take, found) | {"seconds": spent})
    return {
        "topology": options.topology,
        "vertices": len(faces.rows),
        "frames": options.frames,
        "machine": table.machine(),
        "methods": rows,
    }


def report(data: dict[str, Any]) -> str:
    """Markdown of what `measure` returned."""
    rows = []
    for method, scores in data["methods"].items():
        means = {key: float(np.mean([s[key] for s in scores])) for key in scores[0]}
        speed = 100 * means["seconds"] / data["frames"]
        rows.append([method, means["error"], means["jitter"], speed])
    head = ("method", "vertex error, mm", "jitter, mm/frame²", "CPU s per 100 frames")
    intro = (
        f"{len(data['methods']['whole clip'])} takes of {data['frames']} frames, "
        f"{data['topology']} topology, {data['vertices']} vertices. {data['machine']}."
    )
    return f"{intro}\n\n{table.markdown(head, rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--topology", choices=("tiny", "full"), default="full")
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--takes", type=int, default=3)
    parser.add_argument("--noise", type=float, default=0.5, help="pixels")
    parser.add_argument("--outliers", type=float, default=0.01, help="share of points")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data = measure(options)
    print(report(data))
    table.save(options.json, data)


if __name__ == "__main__":
    main()
