"""Info: what a clip is and who is in it, as lines for people and a contact sheet."""

from __future__ import annotations

import numpy as np

from deca.fitting import fit
from ned.core.errors import NoFaceError
from ned.core.files.assets import require_asset
from ned.core.film.clip import Clip
from ned.core.film.turned import turned
from ned.core.progress import SILENT, Progress
from ned.options import InfoOptions, is_still_name
from postprocessing.replacing import check_replaceable
from preprocessing.actor_sheet import draw_actor_sheet
from preprocessing.blendshapes import write_blendshapes
from preprocessing.track import track_faces

_STILL_SECONDS = 0.24
_UNEVEN = 0.2  # share of a frame's duration by which durations differ through rounding alone


def info(options: InfoOptions, progress: Progress = SILENT) -> list[str]:
    """Describe a clip and its actors, numbered as `--actor` counts them; returns lines.

    Raises:
        InputError: the file cannot be read. OutputError: the sheet cannot be written.
        AssetError: blendshapes are wanted, and the bundle is missing.
    """
    path, contact_sheet, blendshapes = options.clip, options.contact_sheet, options.blendshapes
    check_replaceable(contact_sheet, options.overwrite)
    check_replaceable(blendshapes, options.overwrite)
    bundle = require_asset("face-landmarker") if blendshapes is not None else None
    seconds = _STILL_SECONDS if is_still_name(path) else None
    clip = Clip.open(path, duration=seconds, largest=options.max_megapixels)
    clip = turned(clip, options.rotate)
    lines = [f"{path}: {_picture(clip)}"]
    lines += [
        f"  sound {k}: {s.codec}, {s.sample_rate} Hz, {s.layout}, {s.language or 'no language'}"
        for k, s in enumerate(clip.audio)
    ]
    try:
        tracks = track_faces(clip, progress=progress)
    except NoFaceError as error:
        return [*lines, f"  {error}"]
    cuts = int(tracks[0].shots.max()) if len(tracks[0]) else 0
    lines.append(f"  {len(tracks[0])} frames, {cuts} cut{'s' * (cuts != 1)}")
    for number, track in enumerate(tracks):
        performance = fit(track)
        seen = track.present
        yaw = performance.yaw[seen]
        lines.append(
            f"  actor {number}: in {seen.mean():.0%} of the frames, "
            f"{track.mean_height:.0f} pixels high, confidence {track.confidence[seen].mean():.2f}, "
            f"turned {yaw.min():.0f} to {yaw.max():.0f} degrees"
        )
    if contact_sheet is not None:
        draw_actor_sheet(clip, tracks, contact_sheet)
        lines.append(f"  contact sheet: {contact_sheet}")
    if blendshapes is not None and bundle is not None:
        rows = write_blendshapes(blendshapes, clip, tracks, bundle, progress)
        lines.append(f"  blendshapes: {blendshapes}, {rows} rows")
    return lines


def _picture(clip: Clip) -> str:
    width, height = clip.size
    if clip.is_image:
        return f"picture, {width}x{height}"
    rate = _rate(clip)
    seconds = f"{clip.duration:.2f} s" if clip.duration else "unknown length"
    turned = ""
    if not clip.orientation.upside_up:
        turned = f", stored lying ({clip.rotation} degrees), read and written upright"
    return f"{clip.codec}, {width}x{height}, {clip.source_format}, {rate}, {seconds}{turned}"


def _rate(clip: Clip) -> str:
    """The rate in words; from the times of all frames, which a container's numbers may belie."""
    average = f"{float(clip.frame_rate):.6g} fps"
    steps = np.diff(clip.frame_times())
    if not len(steps) or steps.max() - steps.min() <= _UNEVEN * np.median(steps):
        return f"{average} ({clip.frame_rate})"
    return (
        f"variable rate, {1 / steps.max():.3g} to {1 / steps.min():.3g} fps, {average} on average"
    )
