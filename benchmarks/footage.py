"""Footage: the clips that the benchmarks measure on, real ones where there are any.

Real clips come from the folder in NED_CLIPS (or ../shared/clips beside the repository). Where it
is missing, a portrait that comes with scikit-image is made to move.

Importing this module first puts the repository and its tests on the path: ahead of this folder, so
that a benchmark run as a script may have the name of the room that it measures.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
# Clips whose actors speak or shout on camera; the others grimace or keep silent.
TALKING = (
    "talk_512",
    "mead_W036_happy_3",
    "mead_M003_disgusted_1",
    "film_720p",
    "glasses_224",
    "four_faces",
)
FULL_HD = ("mead_W036_happy_3", "mead_M003_disgusted_1")


def folder(given: Path | None, variable: str, usual: str) -> Path | None:
    """The folder named by a flag, else by an environment variable, else `usual` beside the repo.

    None if it does not exist; a folder that was asked for by the flag must exist.
    """
    path = given or Path(os.environ.get(variable) or ROOT.parent / usual)
    if path.is_dir():
        return path
    if given is not None:
        sys.exit(f"there is no folder '{given}'; give one that exists, or set {variable}")
    return None


def clips_folder(given: Path | None) -> Path:
    """The folder of real clips; ends the script with one line if there is none."""
    path = folder(given, "NED_CLIPS", "shared/clips")
    if path is None:
        sys.exit(
            "this needs real footage: set NED_CLIPS, or give --clips-folder, to a folder of it"
        )
    return path


def find_clips(clips: Path, names: list[str] | None) -> list[Path]:
    """Clips of a folder by name (without suffix), all of them if no names are given."""
    found = {path.stem: path for path in sorted(clips.iterdir()) if path.suffix in (".mp4", ".mov")}
    unknown = sorted(set(names or []) - set(found))
    if unknown:
        sys.exit(f"no clip named {unknown[0]} in '{clips}'; there are {', '.join(found)}")
    return [found[name] for name in (names or found)]


def full_hd_clip(given: Path | None, work: Path) -> Path:
    """A clip of 1920 x 1080 pixels: a real one, else the portrait made to move."""
    clips = folder(given, "NED_CLIPS", "shared/clips")
    for name in FULL_HD:
        if clips is not None and (clips / f"{name}.mp4").is_file():
            return clips / f"{name}.mp4"
    path = work / "portrait_1080p.mp4"
    if not path.is_file():
        write_portrait_clip(path, seconds=3.0)
    return path


def small_clip(given: Path | None, work: Path) -> Path:
    """A clip of about 512 x 512 pixels: a real one, else the portrait made to move."""
    clips = folder(given, "NED_CLIPS", "shared/clips")
    if clips is not None and (clips / "talk_512.mp4").is_file():
        return clips / "talk_512.mp4"
    path = work / "portrait_512.mp4"
    if not path.is_file():
        write_portrait_clip(path, seconds=5.0, size=(512, 512))
    return path


def portrait() -> NDArray[np.uint8]:
    """(280, 280, 3) uint8 RGB, a face that looks at the camera."""
    import skimage.data

    return np.ascontiguousarray(skimage.data.astronaut()[0:280, 90:370])


def portrait_frame(
    size: tuple[int, int], seconds: float = 0.0, face_height: float = 500.0
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB: the portrait, upscaled and swaying, on a noisy ground."""
    import cv2

    width, height = size
    scale = face_height / 109.0  # its face mesh is about 109 pixels high
    noise = np.random.default_rng(round(1000 * seconds))
    ground = noise.integers(96, 128, (height // 2, width // 2, 3), np.uint8)
    frame = cv2.resize(ground, size, interpolation=cv2.INTER_LINEAR)
    turn = cv2.getRotationMatrix2D((140.0, 125.0), 3 * math.sin(1.7 * seconds), scale)
    turn[:, 2] += [width / 2 - 140, height / 2 - 125]
    turn[:, 2] += [20 * math.sin(2.1 * seconds), 12 * math.sin(3.1 * seconds)]
    cv2.warpAffine(
        portrait(), turn, size, dst=frame, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_TRANSPARENT
    )
    return frame


def write_portrait_clip(
    path: Path,
    seconds: float,
    size: tuple[int, int] = (1920, 1080),
    rate: int = 25,
) -> None:
    """Write the swaying portrait as H.264 with a silent AAC track."""
    with av.open(str(path), "w") as container:
        options = {"crf": "18", "preset": "veryfast"}
        video: Any = container.add_stream("libx264", rate=rate, options=options)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        sound: Any = container.add_stream("aac", rate=48000, layout="mono")
        for index in range(round(seconds * rate)):
            image = portrait_frame(size, index / rate, face_height=0.46 * size[1])
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(video.encode())
        for start in range(0, round(seconds * 48000), 1024):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts = 48000, start
            container.mux(sound.encode(silence))
        container.mux(sound.encode())


def write_length(source: Path, path: Path, seconds: float, repeated: bool = True) -> None:
    """Write a clip of `seconds` from the packets of another, repeated or cut; nothing is encoded.

    All streams of a repetition are moved by the same time, so that the sound stays with the
    picture; it begins where the longest stream of the one before ended.
    """
    with av.open(str(source)) as origin:
        times = [
            (
                packet.dts * packet.time_base,
                (packet.pts + (packet.duration or 0)) * packet.time_base,
            )
            for packet in origin.demux()
            if packet.dts is not None and packet.pts is not None
        ]
    begin, end = min(t[0] for t in times), max(t[1] for t in times)
    count = max(1, math.ceil(seconds / (end - begin))) if repeated else 1
    with av.open(str(path), "w") as target:
        copies: dict[int, Any] = {}
        for turn in range(count):
            with av.open(str(source)) as origin:
                wanted: list[Any] = [*origin.streams.video[:1], *origin.streams.audio]
                if not copies:
                    copies = {s.index: target.add_stream_from_template(s) for s in wanted}
                for packet in origin.demux(wanted):
                    if packet.dts is None or packet.pts is None:
                        continue
                    shift = round(turn * (end - begin) / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    if packet.dts * packet.time_base < seconds:
                        packet.stream = copies[packet.stream.index]
                        target.mux(packet)
