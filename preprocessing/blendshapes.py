"""Blendshapes: what every actor's face does in every frame, by ARKit's names, as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ned.core.face.track import Track
from ned.core.files.partial import Partial, output_errors
from ned.core.film.clip import Clip
from ned.core.progress import SILENT, Progress
from preprocessing.landmarker import Landmarker
from preprocessing.window import Window


def write_blendshapes(
    path: Path,
    clip: Clip,
    tracks: Sequence[Track],
    bundle: Path,
    progress: Progress = SILENT,
) -> int:
    """Write a .csv: actor, frame, time in seconds, then a column per blendshape, 0 to 1.

    Frames in which an actor is not seen have no row.

    Args:
        path: the file. tracks: of the clip's actors, in the order of their numbers.
        bundle: the asset "face-landmarker".

    Returns:
        The number of rows.

    Raises:
        AssetError: the bundle cannot be used. OutputError: the file cannot be written.
    """
    partial = Partial(path)
    table = io.StringIO(newline="")
    writer, rows = csv.writer(table), 0
    try:
        with (
            Landmarker(bundle) as landmarker,
            progress.stage("blendshapes", len(tracks[0])) as step,
        ):
            for frame in clip.frames():
                step(1)
                for actor, track in enumerate(tracks):
                    if frame.index >= len(track) or not track.present[frame.index]:
                        continue
                    points = track.landmarks(frame.index, frame.index + 1)[0]
                    shapes = landmarker.blendshapes(frame.rgb(), Window.around(points))
                    if not shapes:
                        continue
                    if not rows:
                        writer.writerow(["actor", "frame", "time", *shapes])
                    values = [f"{value:.4f}" for value in shapes.values()]
                    writer.writerow([actor, frame.index, f"{frame.time:.4f}", *values])
                    rows += 1
        with output_errors(path):
            partial.write(table.getvalue().encode())
        partial.publish()
    finally:
        partial.discard()
    return rows
