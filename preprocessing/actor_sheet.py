"""Actor sheet: one picture that shows who was found in a clip, where and when."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.errors import OutputError
from ned.core.face.track import Track
from ned.core.film.image_files import SUFFIXES, write_image
from preprocessing.track import Footage

_COLUMNS = 6
_OVERVIEWS = 3
_WIDTH = 1280  # pixels
_LABEL = 150  # pixels, width of the column with the actors' names
_CELL = (_WIDTH - _LABEL) // _COLUMNS
_WIDE = 2 * _CELL  # pixels, width of an overview
_LINE = 22  # pixels, height of a line of text
_PAPER, _INK = (24, 24, 26), (235, 235, 235)
_COLOURS = (
    (90, 200, 250),
    (255, 159, 67),
    (110, 220, 120),
    (255, 99, 132),
    (190, 150, 255),
    (250, 220, 90),
    (80, 220, 200),
    (240, 150, 210),
)


def draw_actor_sheet(
    clip: Footage, tracks: Sequence[Track], path: Path | str | None = None
) -> NDArray[np.uint8]:
    """Draw whole frames with numbered boxes, and below them a row of portraits for each actor.

    Args:
        clip: The footage; it is read once more.
        tracks: Its tracks, in the order of their numbers.
        path: Where to write the sheet as well, as an image; None to only return it.

    Returns:
        (H, 1280, 3) uint8 RGB.

    Raises:
        OutputError: The picture cannot be written to `path`.
    """
    frame_count = len(tracks[0]) if tracks else clip.frame_count or 1
    overview = _spread(np.arange(frame_count), _OVERVIEWS)
    portraits = [
        _spread(np.flatnonzero(track.present & ~track.interpolated), _COLUMNS) for track in tracks
    ]
    wanted = set(overview).union(*portraits) if portraits else set(overview)
    whole: dict[int, NDArray[np.uint8]] = {}
    faces: dict[tuple[int, int], NDArray[np.uint8]] = {}
    for index, frame in enumerate(clip.frames()):
        if index not in wanted:
            continue
        image = frame.rgb()
        if index in overview:
            whole[index] = _overview(image, tracks, index, frame.time)
        for actor, track in enumerate(tracks):
            if index in portraits[actor]:
                faces[actor, index] = _portrait(image, track, index, frame.time, actor)
        if index == max(wanted):
            break
    rows = [_row("frames", _INK, _summary(tracks), [whole[i] for i in overview if i in whole])]
    for actor, track in enumerate(tracks):
        cells = [faces[actor, i] for i in portraits[actor] if (actor, i) in faces]
        rows.append(_row(f"actor {actor}", _colour(actor), _description(track), cells))
    sheet = np.concatenate(rows)
    if path is not None:
        _write(sheet, Path(path))
    return sheet


def _spread(frames: NDArray[np.intp], count: int) -> list[int]:
    """Up to `count` of the frames, evenly spread and away from the very ends."""
    if len(frames) <= count:
        return [int(frame) for frame in frames]
    places = (np.arange(count) + 0.5) * len(frames) / count
    return [int(frame) for frame in frames[places.astype(int)]]


def _summary(tracks: Sequence[Track]) -> list[str]:
    if not tracks:
        return ["no face"]
    width, height = tracks[0].size
    shots = int(tracks[0].shots.max()) + 1
    return [
        f"{width} x {height}",
        f"{len(tracks[0])} frames",
        f"{shots} shot{'s' if shots > 1 else ''}",
        f"{len(tracks)} actor{'s' if len(tracks) > 1 else ''}",
    ]


def _description(track: Track) -> list[str]:
    present = track.present
    return [
        f"{100 * present.mean():.0f}% of frames",
        f"{track.mean_height:.0f} px high",
        f"confidence {track.confidence[present].mean():.2f}" if present.any() else "never seen",
    ]


def _overview(
    image: NDArray[np.uint8], tracks: Sequence[Track], index: int, time: float
) -> NDArray[np.uint8]:
    """One frame (h, `_WIDE`, 3) with the actors' boxes in their colours."""
    height, width = image.shape[:2]
    scale = min((_WIDE - 8) / width, 1.2 * _CELL / height)
    small = _resize(image, max(1, round(width * scale)), max(1, round(height * scale)))
    for actor, track in enumerate(tracks):
        if not track.present[index]:
            continue
        x0, y0, x1, y1 = (round(float(value) * scale) for value in track.boxes[index])
        cv2.rectangle(small, (x0, y0), (x1, y1), _colour(actor), 2, cv2.LINE_AA)
        top = max(y0, 16)
        cv2.rectangle(
            small, (x0, top - 16), (x0 + 8 + 9 * len(str(actor)), top), _colour(actor), -1
        )
        _write_text(small, str(actor), (x0 + 4, top - 3), (0, 0, 0))
    cell = np.full((small.shape[0], _WIDE, 3), _PAPER, np.uint8)
    left = (_WIDE - small.shape[1]) // 2
    cell[:, left : left + small.shape[1]] = small
    return _caption(cell, _clock(time), _INK)


def _portrait(
    image: NDArray[np.uint8], track: Track, index: int, time: float, actor: int
) -> NDArray[np.uint8]:
    """A square (`_CELL`, `_CELL`, 3) around a face with its box and its mesh points."""
    x0, y0, x1, y1 = (float(value) for value in track.boxes[index])
    side = 1.5 * max(x1 - x0, y1 - y0, 1.0)
    left, top, scale = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2, _CELL / side
    square_from_image = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    cell = np.full((_CELL, _CELL, 3), _PAPER, np.uint8)
    height, width = image.shape[:2]
    a0, b0 = max(0, round(left)), max(0, round(top))
    a1, b1 = min(width, round(left + side)), min(height, round(top + side))
    if a1 > a0 and b1 > b0:
        u0, v0 = round((a0 - left) * scale), round((b0 - top) * scale)
        u0, v0 = max(0, u0), max(0, v0)
        u1 = min(_CELL, max(u0 + 1, round((a1 - left) * scale)))
        v1 = min(_CELL, max(v0 + 1, round((b1 - top) * scale)))
        if u1 > u0 and v1 > v0:
            region = image[b0:b1, a0:a1]
            cell[v0:v1, u0:u1] = cv2.resize(region, (u1 - u0, v1 - v0), interpolation=way)
    points = track.landmarks(index, index + 1)[0, :, :2]
    placed = points @ square_from_image[:, :2].T + square_from_image[:, 2]
    for x, y in placed[np.isfinite(placed).all(1)]:
        cv2.circle(cell, (round(float(x)), round(float(y))), 0, _colour(actor), 1)
    low = tuple(round(float(v)) for v in square_from_image @ (x0, y0, 1))
    high = tuple(round(float(v)) for v in square_from_image @ (x1, y1, 1))
    cv2.rectangle(cell, low, high, _colour(actor), 1, cv2.LINE_AA)
    return _caption(cell, f"{_clock(time)}  conf {track.confidence[index]:.2f}", _colour(actor))


def _row(
    title: str, colour: tuple[int, int, int], lines: list[str], cells: list[NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """A row (h, `_WIDTH`, 3): the title and some lines at the left, then the cells."""
    height = max([cell.shape[0] for cell in cells] + [(len(lines) + 2) * _LINE]) + 8
    row = np.full((height, _WIDTH, 3), _PAPER, np.uint8)
    _write_text(row, title, (8, _LINE), colour, scale=0.62)
    for index, line in enumerate(lines):
        _write_text(row, line, (8, (index + 2) * _LINE), _INK)
    left = _LABEL
    for cell in cells:
        row[: cell.shape[0], left : left + cell.shape[1]] = cell
        left += cell.shape[1]
    return row


def _caption(cell: NDArray[np.uint8], text: str, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The cell with a strip of text below it."""
    strip = np.full((_LINE, cell.shape[1], 3), _PAPER, np.uint8)
    _write_text(strip, text, (4, _LINE - 6), colour)
    return np.concatenate([cell, strip])


def _write_text(
    image: NDArray[np.uint8],
    text: str,
    place: tuple[int, int],
    colour: tuple[int, int, int],
    scale: float = 0.45,
) -> None:
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(image, text, place, font, scale, colour, 1, cv2.LINE_AA)


def _resize(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    way = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=way)  # type: ignore[return-value]


def _colour(actor: int) -> tuple[int, int, int]:
    return _COLOURS[actor % len(_COLOURS)]


def _clock(time: float) -> str:
    minutes, seconds = divmod(max(0.0, time), 60)
    return f"{int(minutes)}:{seconds:05.2f}"


def _write(sheet: NDArray[np.uint8], path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise OutputError(f"{path}: not a kind of image; end the name in .png or .jpg")
    write_image(path, sheet, marked=True)
