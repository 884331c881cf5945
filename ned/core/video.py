"""VideoWriter: frames back into a video that keeps everything else of its source.

Timestamps, colour tags, bit depth and pixel shape are the source's; audio, subtitles, chapters
and attachments are copied packet for packet. A file appears under its name when it is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import av
import av.container

from ned.core.clip import (
    FULL_RANGE,
    LIMITED_RANGE,
    Clip,
    Frame,
    convert,
    is_cover,
    mute,
    open_source,
    packets_of,
    picture_from_planes,
    quoted,
    reason,
    subsampling_of,
)
from ned.core.errors import InputError, OutputError

log = logging.getLogger(__name__)

FORMATS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
}
_QUALITY_OPTIONS = {
    "libx264": ("crf", "preset"),
    "libx265": ("crf", "preset"),
    "libvpx-vp9": ("crf",),
    "libaom-av1": ("crf",),
    "libsvtav1": ("crf",),
}
_QUANTISER_CODECS = {"mpeg4", "mpeg2video", "mjpeg"}  # they know no crf, only a quantiser
_BEST_QUANTISER = 2 * 118
_EVEN_SIZE_CODECS = {"libx264", "libx265", "libsvtav1"}
_FIXED_RATE_CODECS = {"mpeg4", "mpeg2video"}  # their clocks cannot count in 1/90000 s
_STALE_TAGS = {"encoder", "rotate", "duration", "bps", "number_of_frames", "number_of_bytes"}
_BRAND_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder"}


@dataclass(frozen=True)
class EncoderSettings:
    """How the picture is encoded.

    Attributes:
        codec: FFmpeg's name of a video encoder.
        crf: constant quality where the codec has it; smaller is better, 16 looks lossless.
        preset: speed for size, libx264 and libx265 only.
        pixel_format: None for the source's, or the nearest that the codec can take.
        gop: most frames from one key frame to the next; None for the codec's default.
        options: further options of the codec by FFmpeg's names.
        audio: "copy" for every stream bit for bit, "none" for a silent film.
    """

    codec: str = "libx264"
    crf: float | None = 16.0
    preset: str | None = "medium"
    pixel_format: str | None = None
    gop: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    audio: Literal["copy", "none"] = "copy"


def check_output(source: str | Path, output: str | Path) -> None:
    """Find out, before any long work, whether a result can be written.

    Raises:
        OutputError: The output is the source, a folder or of an unknown kind, or its folder is
            missing or refuses a new file.
    """
    _check_names(Path(source), Path(output))
    _Partial(Path(output)).discard()


def remux(clip: Clip, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Copy a clip with everything in it, pictures included, without encoding anything again.

    Args:
        clip: a video, not an image.
        path: the new file; its suffix chooses the container.
        metadata: further tags of the file. Without any, and with the source's own kind of
            container, the result is the source byte for byte.

    Raises:
        InputError: The clip is an image.
        OutputError: The container cannot hold the video, or the file cannot be written.
    """
    path = Path(path)
    if clip.is_image:
        raise InputError(f"{quoted(clip.path)} is a still image; it has no streams to copy")
    format_name = _check_names(clip.path, path)
    partial = _Partial(path)
    try:
        if not metadata and FORMATS.get(clip.path.suffix.lower()) == format_name:
            with _output_errors(path):
                shutil.copyfile(clip.path, partial.path)
        else:
            _remux_into(clip, path, partial, format_name, metadata or {})
        partial.publish()
    finally:
        partial.discard()


class VideoWriter:
    """Writes the frames of a clip, and whatever else the clip holds, to a new file.

    A context manager: on leaving it normally the file is complete and takes its name, on any
    exception nothing is left behind. One frame goes out per frame written, at the same time.
    4:2:0 pictures of odd size become 4:4:4 for codecs that need even sizes. Matroska counts in
    milliseconds and AVI in frames: times are rounded to that when they come from elsewhere.
    """

    def __init__(
        self,
        path: str | Path,
        clip: Clip,
        settings: EncoderSettings | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare; the file is begun on entering the context.

        Args:
            path: the new file; its suffix chooses the container.
            clip: the source of the frames.
            settings: how to encode; None for the defaults.
            metadata: further tags of the file, over those of the source.
        """
        self.path = Path(path)
        self.clip = clip
        self.settings = settings or EncoderSettings()
        self.metadata = dict(metadata or {})
        self.frame_count = 0
        self._partial: _Partial | None = None
        self._container: Any = None
        self._copies: _Copies | None = None

    def __enter__(self) -> VideoWriter:
        """Begin the file.

        Raises:
            InputError: The codec, its options or the pixel format do not exist.
            OutputError: The file cannot be written, or its container cannot hold the codec.
        """
        format_name = _check_names(self.clip.path, self.path)
        self._partial = _Partial(self.path)
        try:
            self._begin(format_name)
        except BaseException:
            self._abandon()
            raise
        return self

    def write(self, frame: Frame) -> None:
        """Encode one frame; frames come in the order of their times.

        Raises:
            OutputError: The encoder or the disk refuses.
            ValueError: The frame has another size than the clip, or is not later than the last.
        """
        width, height = self.clip.size
        if frame.planes[0].shape != (height, width):
            raise ValueError(f"a frame of {frame.planes[0].shape} does not fit {(height, width)}")
        pts = self._ticks(frame.pts)
        if self._last_pts is not None and pts <= self._last_pts:
            if not self._rounded:
                raise ValueError(f"frame {frame.index} is not later than the one before it")
            pts = self._last_pts + 1
        self._last_pts = pts
        picture = self._picture(frame)
        picture.pts = pts
        picture.time_base = self._time_base
        if frame.duration:
            picture.duration = max(1, round(frame.duration * self._ratio))
        with _output_errors(self.path):
            self._send(self._stream.encode(picture))
        self.frame_count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Complete the file, or after an exception remove it.

        Raises:
            OutputError: The end of the file cannot be written, or no frame was.
        """
        try:
            if kind is None:
                self._finish()
        finally:
            self._abandon()

    def _begin(self, format_name: str) -> None:
        assert self._partial is not None
        clip, target = self.clip, None
        source = None if clip.is_image else open_source(clip.path)
        self._copies = copies = _Copies(source, self.path, format_name)
        wanted = list(source.streams) if source is not None else []
        if self.settings.audio == "none":
            wanted = [stream for stream in wanted if stream.type != "audio"]
        kept = [s for s in wanted if s.index == clip.stream_index or copies.can_hold(s)]
        _require_sound(self.path, wanted, kept)

        starts = [s.start_time * s.time_base for s in kept if s.start_time is not None]
        starts.append(clip.first_pts * clip.time_base)
        shift = _common_shift(starts, [clip.time_base, *(s.time_base for s in kept if s.time_base)])
        offset = any(start != shift for start in starts)
        with _output_errors(self.path):
            target = _open_target(self._partial.path, format_name, clip, kept, offset)
            self._container = target
        for stream in kept or [None]:
            if stream is None or stream.index == clip.stream_index:
                self._stream = self._add_encoder(target, format_name, stream)
            else:
                copies.add(target, stream)
        _copy_tags(source, target, shift, self.metadata)
        self._shift = int(shift / clip.time_base)
        self._last_pts: int | None = None
        if clip.interlaced:
            log.warning("%s is interlaced; it is written as progressive", quoted(clip.path))
        with _output_errors(self.path):
            target.start_encoding()
        copies.start(target, shift)

    def _add_encoder(self, target: Any, format_name: str, source: Any) -> Any:
        clip, settings = self.clip, self.settings
        codec = _find_encoder(settings.codec)
        self._pixel_format = _encoder_format(codec, clip, settings.pixel_format)
        try:
            stream = target.add_stream(settings.codec, rate=clip.frame_rate)
        except ValueError as error:
            raise OutputError(
                f"{self.path.suffix} cannot hold {settings.codec}; choose another suffix, or a "
                f"codec that it holds ({'libvpx-vp9' if format_name == 'webm' else 'libx264'})"
            ) from error
        self._rounded = format_name == "avi" or settings.codec in _FIXED_RATE_CODECS
        self._time_base = 1 / clip.frame_rate if self._rounded else clip.time_base
        self._ratio = clip.time_base / self._time_base
        context = stream.codec_context
        context.width, context.height = clip.size
        context.pix_fmt = self._pixel_format
        context.time_base = self._time_base
        if clip.sample_aspect_ratio:
            context.sample_aspect_ratio = clip.sample_aspect_ratio
        context.color_range = clip.colour.range
        context.colorspace = clip.colour.space
        context.color_primaries = clip.colour.primaries
        context.color_trc = clip.colour.transfer
        context.thread_type = "AUTO"
        if settings.gop is not None:
            context.gop_size = settings.gop
        if settings.codec == "libx265" and format_name in ("mp4", "mov"):
            context.codec_tag = "hvc1"  # the tag that Apple's players want
        if settings.codec in _QUANTISER_CODECS:
            context.qscale = True
            context.global_quality = _BEST_QUANTISER
        context.options = _codec_options(settings, format_name)
        _open_encoder(context, settings)
        if source is not None:
            stream.disposition = int(source.disposition)
            stream.metadata.update(_lasting_tags(source))
        return stream

    def _ticks(self, pts: int) -> int:
        shifted = pts - self._shift
        return round(shifted * self._ratio) if self._rounded else shifted

    def _picture(self, frame: Frame) -> av.VideoFrame:
        clip, picture = self.clip, frame.picture
        if picture is None or picture.format.name != clip.pixel_format:
            picture = picture_from_planes(frame.planes, clip.pixel_format)
        if self._pixel_format != clip.pixel_format:
            samples = FULL_RANGE if clip.full_range else LIMITED_RANGE
            picture = convert(picture, self._pixel_format, clip.matrix, samples, samples)
        picture.pict_type = 0  # the encoder decides, not the source's I, P and B frames
        picture.color_range = clip.colour.range
        picture.colorspace = clip.colour.space
        picture.color_primaries = clip.colour.primaries
        picture.color_trc = clip.colour.transfer
        return picture

    def _send(self, packets: list[av.Packet]) -> None:
        assert self._copies is not None
        for packet in packets:
            if packet.dts is not None:
                self._copies.advance(packet.dts * packet.time_base)
            self._container.mux_one(packet)

    def _finish(self) -> None:
        assert self._partial is not None and self._copies is not None
        if not self.frame_count:
            raise OutputError(f"{quoted(self.path)} would be empty: no frame was written")
        with _output_errors(self.path):
            self._send(self._stream.encode(None))
            self._copies.advance(None)
            self._container.close()
            self._container = None
        self._partial.publish()

    def _abandon(self) -> None:
        if self._partial is not None:
            self._partial.discard()  # first, so that closing finds no long file to tidy up
        if self._container is not None:
            with contextlib.suppress(av.FFmpegError, OSError):
                self._container.close()
        if self._copies is not None:
            self._copies.close()
        self._partial, self._container, self._copies = None, None, None


class _Partial:
    """A file under a hidden name until it is complete; one process at a time."""

    def __init__(self, target: Path) -> None:
        self.target = target
        name = f".{target.name}.partial"
        if len(os.fsencode(name)) > 255:
            name = f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:32]}.partial"
        self.path = target.parent / name
        self._published = False
        with _output_errors(target):
            self._file: int | None = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o666)
        if not _lock(self._file):
            os.close(self._file)
            raise OutputError(f"{quoted(target)} is being written by another process; wait for it")

    def publish(self) -> None:
        """Give the complete file its name.

        Raises:
            OutputError: The disk does not take the rest of the data, or the name.
        """
        assert self._file is not None
        with _output_errors(self.target):
            os.fsync(self._file)
            self.path.replace(self.target)
        self._published = True

    def discard(self) -> None:
        """Remove the file unless it is published; a second call does nothing."""
        if self._file is None:
            return
        if not self._published:
            with contextlib.suppress(OSError):
                self.path.unlink()
        os.close(self._file)
        self._file = None


class _Copies:
    """Streams that go from the source to the target packet for packet, as time goes on."""

    def __init__(self, source: Any, path: Path, format_name: str) -> None:
        self.source = source
        self.path = path
        self.format_name = format_name
        self._streams: dict[int, Any] = {}
        self._last: dict[int, int] = {}
        self._lost: dict[int, int] = {}
        self._waiting: av.Packet | None = None
        self._packets: Iterator[av.Packet] = iter(())

    def can_hold(self, stream: Any) -> bool:
        """True where the target's container takes the stream; a stream left out is logged."""
        if stream.type == "data" and stream.name in (None, "bin_data"):
            return False  # QuickTime's time code and chapter tracks: the muxer makes its own
        if is_cover(stream):
            problem = "a cover picture"
        else:
            problem = _trial(stream, self.format_name)
        if problem is None:
            return True
        log.warning(
            "%s: %s stream %d is left out, %s cannot hold it (%s)",
            *(quoted(self.path), stream.type, stream.index, self.path.suffix, problem),
        )
        return False

    def add(self, target: Any, stream: Any) -> None:
        """Begin a copy of one stream in the target."""
        self._streams[stream.index] = _add_copy(target, stream)

    def start(self, target: Any, shift: Fraction) -> None:
        """Begin to read; the target's header has been written."""
        self._target = target
        self._shift = shift
        if self.source is None:
            return
        for stream in self.source.streams:
            if stream.index not in self._streams:
                mute(stream)
        if self._streams:
            wanted = [self.source.streams[index] for index in self._streams]
            self._packets = packets_of(self.source, wanted, Path(self.source.name[5:]))

    def advance(self, until: Fraction | None) -> None:
        """Write the packets that are due up to a time in the target, or all that are left."""
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = None
            if packet is None:
                break
            if packet.dts is None and packet.pts is None and packet.size == 0:
                continue  # the end of a stream
            when = packet.dts if packet.dts is not None else packet.pts
            if until is not None and when is not None:
                if when * packet.time_base - self._shift > until:
                    self._waiting = packet
                    return
            self._write(packet)
        if until is None:
            for index, count in self._lost.items():
                log.warning(
                    "%s: %d packets of stream %d were left out, they are damaged",
                    *(quoted(self.path), count, index),
                )

    def _write(self, packet: av.Packet) -> None:
        index = packet.stream_index
        stream = self._streams[index]
        factor = packet.time_base / stream.time_base
        shift = self._shift / stream.time_base
        last = self._last.get(index)
        dts = packet.dts if packet.dts is not None else packet.pts
        if dts is None:
            when = (last if last is not None else -1) + 1
        else:
            when = _nearest(dts * factor - shift)
        later = 0 if self.format_name in ("matroska", "webm") else 1
        if last is not None and when < last + later:
            when = last + later
        pts = _nearest(packet.pts * factor - shift) if packet.pts is not None else when
        packet.duration = _nearest((packet.duration or 0) * factor)
        packet.dts, packet.pts = when, max(pts, when)
        packet.time_base = stream.time_base
        packet.stream = stream
        try:
            self._target.mux_one(packet)
        except (av.ArgumentError, av.InvalidDataError) as error:
            self._lost[index] = self._lost.get(index, 0) + 1
            log.debug("%s: stream %d: %s", quoted(self.path), index, reason(error))
        else:
            self._last[index] = when

    def close(self) -> None:
        """Let go of the source."""
        if self.source is not None:
            self.source.close()


def _remux_into(
    clip: Clip, path: Path, partial: _Partial, format_name: str, metadata: Mapping[str, str]
) -> None:
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_source(clip.path))
        copies = _Copies(source, path, format_name)
        wanted = list(source.streams)
        kept = [stream for stream in wanted if copies.can_hold(stream)]
        if clip.stream_index not in [stream.index for stream in kept]:
            raise OutputError(f"{path.suffix} cannot hold {clip.codec}; choose .mkv")
        _require_sound(path, wanted, kept)
        starts = [s.start_time * s.time_base for s in kept if s.start_time is not None]
        shift = _common_shift(starts, [s.time_base for s in kept if s.time_base])
        offset = any(start != shift for start in starts)
        with _output_errors(path):
            target = _open_target(partial.path, format_name, clip, kept, offset)
            stack.enter_context(contextlib.closing(target))
            for stream in kept:
                copies.add(target, stream)
            _copy_tags(source, target, shift, metadata)
            target.start_encoding()
            copies.start(target, shift)
            copies.advance(None)
            target.close()


def _check_names(source: Path, output: Path) -> str:
    """FFmpeg's name of the output's container, once nothing speaks against the names."""
    format_name = FORMATS.get(output.suffix.lower())
    if output.is_dir():
        raise OutputError(f"{quoted(output)} is a folder; give the name of a file to write")
    if format_name is None:
        raise OutputError(
            f"{quoted(output)} has an unknown suffix; one of {', '.join(FORMATS)} is needed"
        )
    if not output.parent.is_dir():
        raise OutputError(f"the folder {quoted(output.parent)} does not exist; create it first")
    with _output_errors(output):
        if output.exists() and source.exists() and output.samefile(source):
            raise OutputError(f"{quoted(output)} is the input itself; choose another output")
        if output.exists() and not output.is_file():
            raise OutputError(f"{quoted(output)} is no regular file; choose another output")
    return format_name


@contextlib.contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    """Turn whatever the disk, a muxer or an encoder says into one line about the output."""
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        raise OutputError(
            f"{quoted(path)} cannot be written: {reason(error)}; "
            "check free space and permissions, or choose another folder"
        ) from error


def _lock(file: int) -> bool:
    """False where another process holds the file; True too where locks are unknown."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        log.debug("no file locks here")
    return True


def _open_target(path: Path, format_name: str, clip: Clip, kept: list[Any], offset: bool) -> Any:
    """The target's container, with exact times and tags where the format has a choice."""
    options = {}
    if format_name in ("mp4", "mov"):
        options["movflags"] = "+faststart+use_metadata_tags"
        if offset:
            # Streams that begin at different times: by default QuickTime keeps that in
            # milliseconds only.
            scale = clip.time_base.denominator
            for stream in kept:
                finer = math.lcm(scale, stream.time_base.denominator)
                scale = finer if finer < 2**31 else scale
            options["movie_timescale"] = str(max(1000, scale))
    return av.open(
        f"file:{path.absolute()}",
        "w",
        format=format_name,
        container_options=options,
        metadata_errors="surrogateescape",
    )


def _add_copy(target: Any, stream: Any) -> Any:
    copy = target.add_stream_from_template(stream, opaque=True)
    copy.disposition = int(stream.disposition)
    copy.metadata.update(stream.metadata)
    return copy


def _trial(stream: Any, format_name: str) -> str | None:
    """Why a container refuses a stream, found out by trying in memory; None where it does not."""
    try:
        target = av.open(io.BytesIO(), "w", format=format_name, metadata_errors="surrogateescape")
        _add_copy(target, stream)
        target.start_encoding()
        target.close()
    except (av.FFmpegError, OSError, ValueError) as error:
        return reason(error)
    return None


def _require_sound(path: Path, wanted: list[Any], kept: list[Any]) -> None:
    audio = [stream for stream in wanted if stream.type == "audio"]
    if audio and not any(stream.type == "audio" for stream in kept):
        name = audio[0].codec_context.name if audio[0].codec_context is not None else "unknown"
        raise OutputError(
            f"{path.suffix} cannot hold the audio ({name}); choose .mkv, or leave the audio out"
        )


def _common_shift(starts: list[Fraction], time_bases: list[Fraction]) -> Fraction:
    """Seconds to take off every time so that the target begins near zero.

    A multiple of every time base, so that no time is rounded; zero where the source begins at
    or before zero.
    """
    unit = time_bases[0]
    for base in time_bases[1:]:
        unit = Fraction(
            math.lcm(unit.numerator, base.numerator), math.gcd(unit.denominator, base.denominator)
        )
    return max(Fraction(0), min(starts) // unit * unit)


def _copy_tags(source: Any, target: Any, shift: Fraction, metadata: Mapping[str, str]) -> None:
    """Metadata and chapters of the source, and the given metadata over them."""
    tags: dict[str, str] = {}
    if source is not None:
        tags = {k: v for k, v in source.metadata.items() if k.lower() not in _BRAND_TAGS}
        chapters = source.chapters()
        for chapter in chapters:
            ticks = int(shift / chapter["time_base"])
            chapter["start"] = max(0, chapter["start"] - ticks)
            chapter["end"] = max(0, chapter["end"] - ticks)
        if chapters:
            target.set_chapters(chapters)
    given = {key.lower() for key in metadata}
    tags = {key: value for key, value in tags.items() if key.lower() not in given}
    target.metadata.update(tags | {key: str(value) for key, value in metadata.items()})


def _lasting_tags(stream: Any) -> dict[str, str]:
    """A stream's metadata without what was only true of its old encoding."""
    return {
        key: value
        for key, value in stream.metadata.items()
        if key.lower().split("-")[0] not in _STALE_TAGS and not key.startswith("_STATISTICS")
    }


def _find_encoder(name: str) -> Any:
    try:
        codec = av.Codec(name, "w")
    except ValueError as error:
        raise InputError(
            f"no video encoder {name!r} here; libx264, libx265, libvpx-vp9, ffv1 and "
            "prores_ks are the usual ones"
        ) from error
    if codec.type != "video":
        raise InputError(f"{name!r} encodes {codec.type}, not video; libx264 is the usual one")
    return codec


def _encoder_format(codec: Any, clip: Clip, wanted: str | None) -> str:
    """The pixel format to encode in: the one asked for, or the nearest to the clip's.

    Raises:
        InputError: The codec does not know the format asked for.
    """
    known = [description.name for description in codec.video_formats or []]
    if wanted is not None:
        if wanted not in known:
            raise InputError(f"{codec.name} has no pixel format {wanted!r}; {', '.join(known)}")
        return wanted
    width, height = clip.size

    def loss(name: str) -> tuple[bool, bool, int]:
        across, down = subsampling_of(name)
        finest = clip.subsampling
        odd = codec.name in _EVEN_SIZE_CODECS and bool(width % across or height % down)
        coarser = across > finest[0] or down > finest[1]
        shallower = clip.bit_depth > 8 and not name.endswith("10le")
        waste = abs(across - finest[0]) + abs(down - finest[1])
        waste += 4 * ((clip.bit_depth > 8) != name.endswith("10le"))
        return odd, coarser or shallower, waste

    planar = [f"yuv{chroma}p{depth}" for chroma in ("420", "422", "444") for depth in ("", "10le")]
    usable = [name for name in planar if name in known] or [clip.pixel_format]
    return min(usable, key=loss)


def _codec_options(settings: EncoderSettings, format_name: str) -> dict[str, str]:
    options: dict[str, str] = {}
    known = _QUALITY_OPTIONS.get(settings.codec, ())
    if settings.crf is not None and "crf" in known:
        options["crf"] = str(settings.crf)
    if settings.preset is not None and "preset" in known:
        options["preset"] = settings.preset
    if settings.codec == "libx265":
        options["x265-params"] = "log-level=error"
    if format_name == "avi":
        options["bf"] = "0"  # AVI has no place for a presentation time
    return options | dict(settings.options)


def _open_encoder(context: Any, settings: EncoderSettings) -> None:
    try:
        context.open()
    except (av.FFmpegError, ValueError) as error:
        raise InputError(
            f"{settings.codec} refuses crf {settings.crf}, preset {settings.preset}, options "
            f"{dict(settings.options)} at {context.width}x{context.height} {context.pix_fmt} "
            f"({reason(error)}); change or drop them"
        ) from error
    unused = sorted(set(context.options) & set(settings.options))
    if unused:
        raise InputError(f"{settings.codec} has no option {unused[0]!r}; check its name")


def _nearest(value: Fraction | int) -> int:
    """Rounded to the nearest integer, halves away from zero, as FFmpeg rounds times."""
    return math.floor(value + Fraction(1, 2)) if value >= 0 else math.ceil(value - Fraction(1, 2))
