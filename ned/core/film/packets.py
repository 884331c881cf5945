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
from av.error import FFmpegError, InvalidDataError

from ned.core.errors import InputError, quoted, reason
from ned.core.film.image_sequence import advice

log = logging.getLogger(__name__)

_NOT_FILMS = {"tty", "lavfi", "image2"}  # demuxers that "play" text, recipes and name patterns
# Tags need not be valid text; PyAV from 19 on keeps such ones always and has no word for it.
_PYAV = int(av.__version__.split(".")[0])
ANY_TAGS: dict[str, Any] = {} if _PYAV >= 19 else {"metadata_errors": "surrogateescape"}
_ATTEMPTS = 64  # damaged packets in a row after which the rest of a file is given up


def open_source(path: Path) -> av.container.InputContainer:
    """Open a media file whatever characters its name has.

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
        container = av.open(f"file:{path.absolute()}", **ANY_TAGS)
    except (FFmpegError, OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            raise InputError(f"{quoted(path)} cannot be read: permission denied") from error
        raise InputError(
            f"{quoted(path)} is not a video or image that can be read ({reason(error)}); "
            "it may be incomplete or of another kind"
        ) from error
    if container.format.name in _NOT_FILMS:
        container.close()
        raise InputError(f"{quoted(path)} is not a video or image; give one that is")
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


def packets_of(
    container: av.container.InputContainer, streams: Any, path: Path
) -> Iterator[av.Packet]:
    """Packets of some streams; unreadable stretches are jumped over and logged.

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
                log.warning("%s: damaged data (%s)", quoted(path), reason(error))
            packets = container.demux(streams)  # a generator ends with its exception
            continue
        except (FFmpegError, OSError) as error:
            raise InputError(f"{quoted(path)} cannot be read: {reason(error)}") from error
        failures = 0
        yield packet
    log.warning("%s: the rest of the file is unreadable and left out", quoted(path))
