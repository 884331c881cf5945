"""Made-up actors for tests of the neural renderer: aligned pictures that can be learnt."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.files.actor import Actor
from ned.core.film.image_files import write_image


def write_face(
    actor: Actor, frame: int, opening: float, shift: float, size: int = 64, mouth: bool = True
) -> None:
    """Write the aligned files of one frame: a ball of a face whose mouth opens.

    The shape picture tells the opening, NMFC the place; the filmed face shows both.
    """
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    middle = (0.5 + shift, 0.5)
    inside = ((x - middle[0]) / 0.32) ** 2 + ((y - middle[1]) / 0.42) ** 2 < 1
    lips = ((x - middle[0]) / 0.15) ** 2 + ((y - 0.72) / (0.02 + 0.08 * opening)) ** 2 < 1
    nmfc = np.stack([x - shift, 1 - y, 0.5 + 0 * x], axis=2) * inside[..., None]
    shape = np.repeat((0.7 * inside * ~lips)[..., None], 3, axis=2)
    skin = np.stack([0.8 - 0.3 * y, 0.5 + 0.1 * x, 0.4 + 0 * x], axis=2)
    face = np.where(lips[..., None], np.array([0.3, 0.05, 0.1]), skin) * inside[..., None]
    pictures = {"nmfcs_aligned": nmfc, "shapes_aligned": shape, "faces_aligned": face}
    for kind, values in pictures.items():
        _write(actor, kind, frame, np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8))
    _write(actor, "masks_aligned", frame, np.repeat(np.uint8(255) * inside[..., None], 3, axis=2))
    points = eye_points(middle[0] * size, size, mouth)
    path = actor.frame_file("eye_landmarks_aligned", frame)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, points)


def eye_points(middle: float, size: int = 64, mouth: bool = True) -> NDArray[np.float64]:
    """(14 or 34, 2) eyes, pupils and mouth of an upright face."""
    lids = np.array([(-4, 0), (-2, -2), (2, -2), (4, 0), (2, 2), (-2, 2)]) * size / 64
    centres = np.array([(middle - 0.13 * size, 0.4 * size), (middle + 0.13 * size, 0.4 * size)])
    eyes = np.concatenate([lids + centres[0], lids + centres[1], centres])
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    round_mouth = np.stack([middle + 0.15 * size * np.cos(turn), 0.72 * size + 3 * np.sin(turn)], 1)
    return np.concatenate([eyes, round_mouth]) if mouth else eyes


def write_actor(folder: Path, frames: int, size: int = 64, mouth: bool = True) -> Actor:
    """An actor who talks and moves for some frames."""
    actor = Actor(folder)
    for frame in range(frames):
        opening, shift = np.sin(0.9 * frame) ** 2, 0.04 * np.sin(0.31 * frame)
        write_face(actor, frame, float(opening), float(shift), size, mouth)
    return actor


def _write(actor: Actor, kind: str, frame: int, image: NDArray[np.uint8]) -> None:
    path = actor.frame_file(kind, frame)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.ascontiguousarray(cv2.convertScaleAbs(image)))
