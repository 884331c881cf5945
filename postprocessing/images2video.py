"""Images to video: a folder of numbered pictures becomes a film, with the source's time and sound.

As a script: python postprocessing/images2video.py --imgs_path DIR --out_path FILE [--audio FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import get_args

if __name__ == "__main__":
    room = Path(__file__).resolve().parent  # where a script looks for modules, and none is meant
    sys.path[:] = [str(room.parent), *(p for p in sys.path if Path(p).resolve() != room)]

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import InputError, NedError, quoted
from ned.core.film.clip import Clip, Frame, Orientation
from ned.core.film.encoder import SOUND_CHOICES, EncoderSettings, Quality
from ned.core.film.image_files import read_image
from ned.core.film.planes import FULL_RANGE, LIMITED_RANGE, convert, planes_of
from ned.core.film.video import VideoWriter, check_output
from ned.core.progress import SILENT, Progress, TerminalProgress
from postprocessing.provenance import provenance_tags
from postprocessing.replacing import check_replaceable

DEFAULT_RATE = Fraction(30)  # frames per second where nothing is known, as in NED
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
_FARTHEST_SOURCE = 3  # folders above the pictures in which an actor's videos are looked for


@dataclass(frozen=True)
class Film:
    """What was written.

    Attributes:
        path: the film.
        size: (width, height) of its pictures.
        frame_rate: frames per second, the average of a variable rate.
        pictures: how many of its frames came from the folder.
        kept: how many at its ends are the source's own, because no picture was there.
        rate_from: where its frame rate comes from, in words.
    """

    path: Path
    size: tuple[int, int]
    frame_rate: Fraction
    pictures: int
    kept: int
    rate_from: str

    @property
    def summary(self) -> list[str]:
        """Lines for the user."""
        rate = f"{float(self.frame_rate):.6g}"
        lines = [
            f"{self.path}: {self.pictures} pictures of {self.size[0]}x{self.size[1]}, "
            f"{rate} frames/s ({self.rate_from})"
        ]
        if self.kept:
            lines.append(f"{self.kept} frames at the ends had no picture; they are the source's")
        return lines


def images2video(
    images: Path,
    output: Path,
    *,
    source: Path | None = None,
    frame_rate: Fraction | None = None,
    sound: bool = True,
    settings: EncoderSettings | None = None,
    provenance: bool = True,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Film:
    """Write a folder of pictures as a film.

    With a source, picture number n is shown when the source's frame n is (if the numbers go
    beyond the source, they are counted from the first picture). Frames before the first and after
    the last picture are the source's own, where pictures are as large as its frames. A frame rate
    that is given wins: then pictures follow each other at it, and sound begins with the first.

    Args:
        images: the folder; pictures in the order of their numbers, or of their names.
        output: the film; its suffix chooses the container.
        source: the clip that the pictures were made from; None to look for the only video
            of the actor whose folder this is, which then gives the rate alone.
        frame_rate: frames per second, instead of the source's.
        sound: whether the sound of a given source is copied.
        settings: how to encode; None for the defaults.
        provenance: whether the film's metadata say that it is edited.
        overwrite: whether a film of this name that this program did not make is replaced.
        progress: told about every picture.

    Raises:
        InputError: There is no picture, one is missing or damaged or of another size, or the
            source is too short.
        OutputError: The film cannot be written.
    """
    numbers, files = _pictures(images)
    if frame_rate is not None and not 0 < frame_rate <= 1000:
        raise InputError(
            f"{float(frame_rate):g} frames/s was asked for; give 1 to 1000, such as 25"
        )
    first = read_image(files[0])
    size = (first.shape[1], first.shape[0])
    sound = sound and source is not None
    settings = settings or EncoderSettings()
    settings = settings if sound else dataclasses.replace(settings, sound="none")
    if source is None and frame_rate is None:
        source = _actors_video(images)
    clip = None if source is None else Clip.open(source)
    if clip is not None and clip.is_image:
        raise InputError(f"{quoted(clip.path)} is a still image; give the video of the pictures")
    if clip is not None:
        clip = dataclasses.replace(clip, alpha=False)
    check_output(clip.path if clip else files[0], output)
    check_replaceable(output, overwrite)

    timed = clip is not None and frame_rate is None
    rate_from = "as given" if frame_rate else f"of {clip.path.name}" if clip else "no source known"
    if timed:
        assert clip is not None
        target, frames = _timed(clip, size, numbers, files)
    else:
        rate = frame_rate or DEFAULT_RATE
        target = _steady(clip, files[0], size, rate, len(files))
        frames = _one_by_one(target, files)
    tags = provenance_tags(f"frames of {images.resolve().name}") if provenance else {}
    pictures = kept = 0
    with (
        VideoWriter(output, target, settings, tags) as writer,
        progress.stage("writing", target.frame_count if timed else len(files)) as step,
    ):
        for frame, own in frames:
            writer.write(frame)
            pictures, kept = pictures + own, kept + (not own)
            step(1)
        if pictures < len(files):
            raise InputError(
                f"{quoted(target.path)} has {pictures + kept} frames, too few for picture "
                f"{quoted(files[-1].name)}; give the video that the pictures were made from, "
                "or --fps"
            )
    return Film(output, size, target.frame_rate, pictures, kept, rate_from)


def _pictures(folder: Path) -> tuple[list[int], list[Path]]:
    """Numbers and files of a folder's pictures, in order, without a gap."""
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(f"{quoted(folder)} {what}; give a folder of pictures")
    files = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not files:
        raise InputError(f"{quoted(folder)} holds no picture; files like 000000.png are needed")
    if not all(path.stem.isdecimal() for path in files):
        return list(range(len(files))), files
    files.sort(key=lambda path: int(path.stem))
    numbers = [int(path.stem) for path in files]
    for index in range(1, len(files)):
        before, number = numbers[index - 1], numbers[index]
        if number == before:
            raise InputError(
                f"{quoted(files[index - 1])} and {quoted(files[index].name)} have one number; "
                "remove one of them"
            )
        if number > before + 1:
            missing = f"{before + 1:0{len(files[0].stem)}d}{files[0].suffix}"
            count = number - before - 1
            raise InputError(
                f"{quoted(folder / missing)} is missing ({count} in a row); render it again"
            )
    return numbers, files


def _actors_video(images: Path) -> Path | None:
    """The only video of the actor in whose folder the pictures are."""
    from ned.core.files.actor import Actor

    for folder in list(images.resolve().parents)[:_FARTHEST_SOURCE]:
        if (folder / "videos").is_dir():
            try:
                videos = Actor(folder).videos
            except InputError:
                return None
            return videos[0] if len(videos) == 1 else None
    return None


def _timed(
    clip: Clip, size: tuple[int, int], numbers: list[int], files: list[Path]
) -> tuple[Clip, Iterator[tuple[Frame, bool]]]:
    """The clip with the pictures' size, and its frames with the pictures in their places."""
    whole = size == clip.size
    target = clip if whole else _resized(clip, size)
    if clip.frame_count and numbers[-1] >= clip.frame_count:
        numbers = [number - numbers[0] for number in numbers]
    places = dict(zip(numbers, files, strict=True))

    def frames() -> Iterator[tuple[Frame, bool]]:
        for frame in clip.frames():
            file = places.get(frame.index)
            if file is not None:
                yield frame_of_picture(target, file, frame.index, frame.pts, frame.duration), True
            elif whole:
                yield frame, False
            elif frame.index > numbers[-1]:
                return

    return target, frames()


def _steady(
    clip: Clip | None, first: Path, size: tuple[int, int], rate: Fraction, count: int
) -> Clip:
    """A clip of a constant rate, with what else there is in the source where there is one."""
    if clip is None:
        return Clip.open(first, duration=float(count / rate), frame_rate=rate)
    target = clip if size == clip.size else _resized(clip, size)
    start = math.ceil(clip.first_pts * clip.time_base * rate)
    return dataclasses.replace(
        target,
        frame_rate=rate,
        variable_rate=False,
        time_base=1 / rate,
        first_pts=start,
        frame_count=count,
    )


def _one_by_one(target: Clip, files: list[Path]) -> Iterator[tuple[Frame, bool]]:
    for index, file in enumerate(files):
        yield frame_of_picture(target, file, index, target.first_pts + index, 1), True


def _resized(clip: Clip, size: tuple[int, int]) -> Clip:
    """A clip with upright pictures of another size, and square pixels."""
    odd = size[0] % 2 or size[1] % 2
    return dataclasses.replace(
        clip,
        size=size,
        coded_size=size,
        orientation=Orientation(),
        sample_aspect_ratio=Fraction(1),
        pixel_format="yuv444p" if odd else "yuv420p",
    )


def frame_of_picture(target: Clip, file: Path, index: int, pts: int, duration: int | None) -> Frame:
    """A picture file as frame `index` of a film.

    Raises:
        InputError: It cannot be read, or has another size than the film.
    """
    import av

    rgb: NDArray[np.uint8] = read_image(file)
    if (rgb.shape[1], rgb.shape[0]) != target.size:
        raise InputError(
            f"{quoted(file)} has {rgb.shape[1]}x{rgb.shape[0]} pixels, the pictures before it "
            f"{target.size[0]}x{target.size[1]}; all must have one size"
        )
    picture = convert(
        av.VideoFrame.from_ndarray(rgb, "rgb24"),
        target.pixel_format,
        target.matrix,
        FULL_RANGE,
        FULL_RANGE if target.full_range else LIMITED_RANGE,
    )
    time = float((pts - target.first_pts) * target.time_base)
    return Frame(target, index, pts, time, duration, planes_of(picture), picture)


def _rate(text: str) -> Fraction:
    try:
        return Fraction(text).limit_denominator(1001)
    except (ValueError, ZeroDivisionError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no frame rate; give a number such as 25, 29.97 or 30000/1001"
        ) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The script; domain errors become one line and 1."""
    parser = argparse.ArgumentParser(
        prog="images2video.py",
        description="Write a folder of pictures as a film, with the time and sound of its source.",
    )
    parser.add_argument("--imgs_path", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--out_path", type=Path, required=True, help="the film, such as out.mp4")
    parser.add_argument(
        "--fps",
        type=_rate,
        help="frames per second; by default those of --audio, or of the actor's only video, or 30",
    )
    parser.add_argument(
        "--audio", type=Path, help="the original video; its sound is copied and its times are kept"
    )
    parser.add_argument(
        "--no_provenance",
        action="store_true",
        help="leave out the metadata that say that the film is edited",
    )
    parser.add_argument(
        "--quality",
        choices=get_args(Quality),
        default=EncoderSettings.quality,
        help="fast (draft), like the source at about its size (delivery), or large (master)",
    )
    parser.add_argument(
        "--sound",
        choices=SOUND_CHOICES,
        default=EncoderSettings.sound,
        help="copied, converted where the container cannot hold it (auto), or as told",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a file of this name that this program did not make",
    )
    given = parser.parse_args(arguments)
    progress = TerminalProgress() if sys.stderr.isatty() else SILENT
    try:
        film = images2video(
            given.imgs_path,
            given.out_path,
            source=given.audio,
            frame_rate=given.fps,
            settings=EncoderSettings(quality=given.quality, sound=given.sound),
            provenance=not given.no_provenance,
            overwrite=given.overwrite,
            progress=progress,
        )
    except (NedError, OSError) as error:
        sys.stderr.write(f"images2video.py: error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("images2video.py: interrupted, nothing was written\n")
        return 130
    sys.stdout.write("\n".join(film.summary) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
