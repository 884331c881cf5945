"""Media files as packets: opened whatever their names, read on past damaged stretches."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container
import av.stream
from av.error import ExitError, FFmpegError, InvalidDataError

from ned.core.errors import InputError, quoted, reason
from ned.core.film.image_sequence import advice
from ned.core.film.limits import LARGEST_PICTURE, pixels_of, require_size

log = logging.getLogger(__name__)

# Tags need not be valid text; PyAV from 19 on keeps such ones always and has no word for it.
_PYAV = int(av.__version__.split(".")[0])
ANY_TAGS: dict[str, Any] = {} if _PYAV >= 19 else {"metadata_errors": "surrogateescape"}

# Demuxers of real containers. None of them opens other files, as playlists (HLS, DASH), recipes
# (ffconcat, SDP) and name patterns (image2) do.
_CONTAINERS = (
    *("mov", "matroska", "avi", "asf", "flv", "mpegts", "mpeg", "mxf", "ogg", "gif", "apng"),
    *("webp_anim", "h264", "hevc", "obu", "av1", "ivf", "nut", "dv", "rm", "wtv", "gxf", "vc1"),
    *("mpegvideo", "m4v", "mjpeg", "mjpeg_2000", "yuv4mpegpipe", "swf", "amv", "smk", "bink"),
    *("wav", "w64", "mp3", "aac", "flac", "aiff", "caf", "ac3", "eac3", "dts", "amr", "au"),
)
_PATIENCE = 60.0  # seconds until the file system must have answered
_ATTEMPTS = 64  # damaged packets in a row after which the rest of a file is given up


def open_source(path: Path, largest: float = LARGEST_PICTURE) -> av.container.InputContainer:
    """Open a media file whatever characters its name has; the one place where this is done.

    Only real containers are read, nothing but the file itself is opened, and pictures that are
    larger than `largest` megapixels are not decoded.

    Args:
        path: the file.
        largest: megapixels of a picture.

    Raises:
        InputError: There is no readable media file.
    """
    try:
        if path.is_dir():
            raise InputError(
                f"{quoted(path)} is a folder; give one video or image file{advice(path)}"
            )
        if not path.exists():
            told = "does not exist; give a video or image file"
            raise InputError(f"{quoted(path)} {told}{advice(path)}")
        if not path.is_file():
            raise InputError(f"{quoted(path)} is not a regular file; give a video or image file")
        if path.stat().st_size == 0:
            raise InputError(f"{quoted(path)} is empty (0 bytes); copy or record it again")
        container = av.open(
            f"file:{path.absolute()}",
            **ANY_TAGS,
            options={"max_pixels": str(pixels_of(largest))},
            container_options={
                "format_whitelist": ",".join(_CONTAINERS),
                "protocol_whitelist": "file",
            },
            timeout=(_PATIENCE, _PATIENCE),
        )
    except (FFmpegError, OSError, ValueError) as error:
        if isinstance(error, ExitError):
            raise InputError(
                f"{quoted(path)} was not answered within {_PATIENCE:.0f} s; copy it to this machine"
            ) from error
        if isinstance(error, PermissionError):
            raise InputError(f"{quoted(path)} cannot be read: permission denied") from error
        raise InputError(
            f"{quoted(path)} is not a video or image that can be read ({reason(error)}); "
            "it may be incomplete or of another kind"
        ) from error
    for stream in container.streams.video:
        context = stream.codec_context
        if context is not None:
            try:
                require_size(path, context.width, context.height, largest)
            except InputError:
                container.close()
                raise
            context.options = {"max_pixels": str(pixels_of(largest))}
    return container


def exact(rational: Any) -> Fraction | None:
    """A rational number of PyAV as a Fraction; None where it is not known.

    PyAV before 19 gives Fraction or None. From 19 on it gives numbers of its own, which are 0/1
    or 0/0 where nothing is known, and which round products that do not fit 32 bits.
    """
    return Fraction(rational.numerator, rational.denominator) if rational else None


def mute(stream: Any) -> None:
    """Let the demuxer skip a stream that nobody reads, where this PyAV can."""
    if hasattr(av.stream, "Discard"):
        stream.discard = av.stream.Discard.all


def is_cover(stream: Any) -> bool:
    """True for a picture attached to a song or film, which is no film itself."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


class Told:
    """Warnings about one film, each said once however often the film is read."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def warn(self, path: Path, text: str) -> None:
        """Log a warning about a file, unless it was said before."""
        line = f"{quoted(path)}: {text}"
        if line not in self._said:
            self._said.add(line)
            log.warning("%s", line)


def packets_of(
    container: av.container.InputContainer, streams: Any, path: Path, told: Told
) -> Iterator[av.Packet]:
    """Packets of some streams; unreadable stretches are jumped over and told.

    Raises:
        InputError: The file cannot be read any more.
    """
    packets, failures = container.demux(streams), 0
    while failures < _ATTEMPTS:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except InvalidDataError as error:
            failures += 1
            if failures == 1:
                told.warn(path, f"damaged data ({reason(error)})")
            packets = container.demux(streams)  # a generator ends with its exception
            continue
        except (FFmpegError, OSError) as error:
            raise InputError(f"{quoted(path)} cannot be read: {reason(error)}") from error
        failures = 0
        yield packet
    told.warn(path, "the rest of the file is unreadable and left out")
