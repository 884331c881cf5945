"""Acted faces: performances of the rig whose tracks show exactly what their units say."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from deca.fitting import pose_features
from deca.rig import Rig, load_rig
from ned.core.face.performance import Performance
from ned.core.face.track import Track

Curves = Mapping[str, NDArray[np.floating]]


RATE = 25


SIZE = (640, 480)


FLIP = np.array([1, -1, -1], np.float32)


def units_from(rig: Rig, count: int, curves: Curves) -> NDArray[np.float32]:
    """(count, U) activations; a unit named without its side acts on both."""
    units = np.zeros((count, len(rig)), np.float32)
    for name, curve in curves.items():
        for column in rig.columns(name):
            units[:, column] = curve
    return units


def turned(
    yaw: NDArray[np.floating] | float = 0.0,
    pitch: NDArray[np.floating] | float = 0.0,
    roll: NDArray[np.floating] | float = 0.0,
    count: int = 1,
) -> NDArray[np.float32]:
    """(count, 3, 3) head-to-camera rotations from degrees; yaw to the image's right, pitch up."""
    angles = np.stack([np.broadcast_to(a, count) for a in (yaw, -np.asarray(pitch), roll)], axis=1)
    return Rotation.from_euler("YXZ", angles, degrees=True).as_matrix().astype(np.float32)


def acted(
    units: NDArray[np.float32],
    rotation: NDArray[np.float32] | None = None,
    *,
    identity: NDArray[np.float32] | None = None,
    scale: NDArray[np.floating] | float = 120.0,
    place: NDArray[np.floating] | tuple[float, float] = (320.0, 210.0),
    rate: float = RATE,
    noise: float = 0.0,
    bent: bool = False,
    shots: NDArray[np.int32] | None = None,
    absent: tuple[int, ...] = (),
    size: tuple[int, int] = SIZE,
) -> Performance:
    """A performance whose track shows exactly these activations and poses.

    Args:
        units: (T, U). rotation: (T, 3, 3), frontal if None. scale: pixels per face unit.
        place: (T, 2) or (2,) pixels between the eyes. noise: standard deviation in pixels.
        bent: bend the face with the pose as the tracker does (`FaceMesh.pose_bias`).
        absent: frames without a face.
    """
    rig, count = load_rig(), len(units)
    rotation = turned(count=count) if rotation is None else rotation
    identity = rig.mesh.neutral if identity is None else identity
    track = Track.empty(count, size)
    track.times = np.arange(count) / rate
    track.confidence[:] = 1
    if shots is not None:
        track.shots = np.asarray(shots, np.int32)
    performance = Performance(
        face_model="rig",
        unit_names=rig.names,
        identity=identity,
        units=units,
        track=track,
        parameters={
            "rotation": rotation,
            "scale": np.broadcast_to(np.float32(scale), count).copy(),
            "translation": np.broadcast_to(np.float32(place), (count, 2)).copy(),
            "gaze": np.zeros((count, 2, 2), np.float32),
        },
    )
    shape = identity + rig.displacement(units)
    if bent:
        bias = pose_features(rotation) @ rig.mesh.pose_bias.reshape(5, -1)
        shape = shape + bias.reshape(count, 468, 3)
    points = performance.image_from_head(np.concatenate([shape, irises(shape)], axis=1))
    points += noise * np.random.default_rng(7).standard_normal(points.shape)
    for frame in range(count):
        track.set_landmarks(frame, points[frame].astype(np.float32))
    for frame in absent:
        track.boxes[frame], track.confidence[frame], track.codes[frame] = np.nan, 0, 0
        units[frame] = 0
    return performance


def irises(shape: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, 10, 3) centre and four rim points of both irises, in the middle of the eyes' corners."""
    rings = []
    for outer, inner in ((33, 133), (263, 362)):
        middle = (shape[:, outer] + shape[:, inner]) / 2
        radius = 0.2 * np.linalg.norm(shape[:, outer] - shape[:, inner], axis=1)[:, None, None]
        rim = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]], np.float32)
        rings.append(middle[:, None] + radius * rim)
    return np.concatenate(rings, axis=1)


def bump(count: int, middle: float, width: float, height: float = 1.0) -> NDArray[np.float64]:
    """(count,) a smooth rise and fall around frame `middle`."""
    return height * np.exp(-0.5 * ((np.arange(count) - middle) / width) ** 2)


def improvised(rig: Rig, seed: int, count: int = 60) -> Performance:
    """A performance that uses every unit of the rig at random."""
    generator = np.random.default_rng(seed)
    noise = np.abs(generator.standard_normal((count, len(rig))))
    units = gaussian_filter1d(noise, 3, axis=0) * 1.2 * generator.random(len(rig))
    return acted(units.astype(np.float32))
