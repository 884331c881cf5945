"""TrainingPictures: what a manipulator makes of one clip, as curves, faces and a small film."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from deca.face_models import open_face_model
from deca.lighting import lamp_shading
from deca.normals import vertex_normals
from deca.rasterizer import interpolate, rasterize
from manipulator.checkpoints import Manipulator
from manipulator.translation import (
    TranslationSettings,
    label_styles,
    shared_wishes,
    translate_values,
)
from ned.core.errors import AssetError
from ned.core.files.partial import Partial, output_errors
from ned.core.film.image_files import write_image

_FRAMES = 100  # of the clip, at most
_SIDE = 112  # pixels of a face
_ROWS = 5  # moments in the picture
_CURVES = 6  # columns with the largest changes
_RATE = 25
_PLOT = (420, 90)  # pixels of one curve
_COLOURS = (
    *((90, 90, 90), (200, 40, 40), (40, 130, 60), (120, 60, 170), (230, 150, 20)),
    *((40, 90, 200), (20, 160, 170), (180, 90, 120)),
)


def draw_emotions(
    manipulator: Manipulator, values: NDArray[np.float32], path: Path
) -> dict[str, NDArray[np.uint8]]:
    """Translate a clip to every emotion and draw that.

    Writes <path>.png (a row per moment: the source, then the emotions), <path>.mp4 of the same
    where faces can be drawn (the rig's always, FLAME's with the user's files), and
    <path>_curves.png.

    Returns:
        {"faces": image, "curves": image} as (H, W, 3) uint8 RGB.
    """
    values = values[:_FRAMES]
    styles = label_styles(manipulator.networks)
    settings = TranslationSettings(edges="averaged")
    takes = [values]
    for style in styles:
        wishes = shared_wishes(style[None], len(values), manipulator.settings.window)
        takes.append(translate_values(values, wishes, manipulator, settings))
    names = ("source", *manipulator.settings.emotions)
    pictures = {"curves": _curves(np.stack(takes), names, manipulator)}
    write_image(path.with_name(f"{path.name}_curves.png"), pictures["curves"])
    shapes = [face_vertices(manipulator, take) for take in takes]
    if shapes[0] is not None:
        faces = shapes[0][1]
        columns = [_drawn(shape[0], faces) for shape in shapes if shape is not None]
        film = np.concatenate(columns, axis=2)
        titles = _titles(names, film.shape[2])
        film = np.concatenate([np.broadcast_to(titles, (len(film), *titles.shape)), film], axis=1)
        moments = np.linspace(0, len(film) - 1, min(_ROWS, len(film))).round().astype(int)
        pictures["faces"] = np.concatenate(list(film[moments]))
        write_image(path.with_name(f"{path.name}.png"), pictures["faces"])
        _write_film(path.with_name(f"{path.name}.mp4"), film)
    return pictures


def face_vertices(
    manipulator: Manipulator, values: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int32]] | None:
    """(T, V, 3) heads that look at the camera, y up, and (F, 3) faces; None without its files."""
    try:
        return open_face_model(manipulator.face_model).heads(values)
    except AssetError:
        return None


def _drawn(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> NDArray[np.uint8]:
    """(T, V, 3) -> (T, S, S, 3) uint8, lit from the front."""
    low, high = vertices.min((0, 1)), vertices.max((0, 1))
    centre, half = (low + high) / 2, max(float((high - low)[:2].max()) / 2, 1e-9) * 1.1
    device = (vertices - centre) / half * np.array([1, -1, -1], np.float32)
    device[..., 2] += 10
    fragments = rasterize(device, faces, _SIDE)
    shade = lamp_shading(vertex_normals(vertices, faces))
    image = interpolate(fragments, faces, shade.reshape(*vertices.shape[:2], -1))
    grey = np.where(fragments.coverage, np.clip(image[..., 0] * 255, 0, 255), 255)
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=3)


def _titles(names: tuple[str, ...], width: int) -> NDArray[np.uint8]:
    """(14, width, 3) a name above every column."""
    strip = np.full((14, width, 3), 255, np.uint8)
    for column, name in enumerate(names):
        place = (column * _SIDE + 4, 11)
        cv2.putText(strip, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
    return strip


def _curves(
    takes: NDArray[np.float32], names: tuple[str, ...], manipulator: Manipulator
) -> NDArray[np.uint8]:
    """(1 + E, T, V) -> a plot of the columns that change most, the source in grey."""
    moved = np.abs(takes[1:] - takes[0]).mean((0, 1)) / manipulator.spread
    units = manipulator.unit_names or ("jaw", *(f"expression {k}" for k in range(50)))
    width, height = _PLOT
    plots = []
    for column in np.argsort(-moved)[:_CURVES]:
        plot = np.full((height, width, 3), 255, np.uint8)
        low, high = float(takes[..., column].min()), float(takes[..., column].max())
        x = np.linspace(4, width - 5, takes.shape[1])
        for k in range(len(takes)):
            y = height - 5 - (takes[k, :, column] - low) / max(high - low, 1e-6) * (height - 24)
            line = np.stack([x, y], axis=1).round().astype(np.int32)[:, None]
            cv2.polylines(plot, [line], False, _COLOURS[k % len(_COLOURS)], 1, cv2.LINE_AA)
        label = f"{units[column]}  {low:.2f} to {high:.2f}"
        cv2.putText(plot, label, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 1, cv2.LINE_AA)
        plots.append(plot)
    legend = np.full((16, width, 3), 255, np.uint8)
    step = width // len(names)
    for k, name in enumerate(names):
        place, colour = (4 + k * step, 11), _COLOURS[k % len(_COLOURS)]
        cv2.putText(legend, name[:9], place, cv2.FONT_HERSHEY_SIMPLEX, 0.28, colour, 1, cv2.LINE_AA)
    return np.concatenate([legend, *plots])


def _write_film(path: Path, film: NDArray[np.uint8]) -> None:
    """(T, H, W, 3) uint8 RGB as H.264; raises OutputError."""
    partial = Partial(path)
    try:
        with output_errors(path), av.open(str(partial.address), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=_RATE, options={"crf": "23"})
            stream.height, stream.width = film.shape[1] // 2 * 2, film.shape[2] // 2 * 2
            stream.pix_fmt = "yuv420p"
            for image in film[:, : stream.height, : stream.width]:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        partial.publish()
    finally:
        partial.discard()
