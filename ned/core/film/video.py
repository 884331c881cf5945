"""VideoWriter: frames back into a video that keeps everything else of its source.

Timestamps, colour tags, bit depth and pixel shape are the source's; audio, subtitles, chapters
and attachments are copied packet for packet. A file appears under its name when it is complete.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shutil
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.error import FFmpegError

from ned.core.errors import InputError, OutputError, quoted, reason
from ned.core.files.partial import Partial, output_errors
from ned.core.film.clip import Clip, Frame
from ned.core.film.encoder import EncoderSettings
from ned.core.film.packets import open_source
from ned.core.film.planes import (
    FULL_RANGE,
    LIMITED_RANGE,
    convert,
    picture_from_planes,
    subsampling_of,
)
from ned.core.film.stream_copies import Copies, common_shift, copy_tags, open_target, require_sound

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
_PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast", "medium"),
    *("slow", "slower", "veryslow", "placebo"),
)
_QUANTISER_CODECS = {"mpeg4", "mpeg2video"}  # they know no crf, only a quantiser
_BEST_QUANTISER = 2 * 118
_EVEN_SIZE_CODECS = {"libx264", "libx265", "libsvtav1"}
_FIXED_RATE_CODECS = {"mpeg4", "mpeg2video"}  # their clocks cannot count in 1/90000 s
_STALE_TAGS = {"encoder", "rotate", "duration", "bps", "number_of_frames", "number_of_bytes"}


def check_output(source: str | Path, output: str | Path) -> None:
    """Find out, before any long work, whether a result can be written.

    Raises:
        OutputError: The output is the source, a folder or of an unknown kind, or its folder is
            missing or refuses a new file.
    """
    _check_names(Path(source), Path(output))
    Partial(Path(output)).discard()


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
    partial = Partial(path)
    try:
        if not metadata and FORMATS.get(clip.path.suffix.lower()) == format_name:
            with output_errors(path):
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
        self._partial: Partial | None = None
        self._container: Any = None
        self._copies: Copies | None = None

    def __enter__(self) -> VideoWriter:
        """Begin the file.

        Raises:
            InputError: The codec, its options or the pixel format do not exist.
            OutputError: The file cannot be written, or its container cannot hold the codec.
        """
        format_name = _check_names(self.clip.path, self.path)
        self._partial = Partial(self.path)
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
        with output_errors(self.path):
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
        self._copies = copies = Copies(source, self.path, format_name)
        wanted: list[Any] = list(source.streams) if source is not None else []
        if self.settings.audio == "none":
            wanted = [stream for stream in wanted if stream.type != "audio"]
        kept = [s for s in wanted if s.index == clip.stream_index or copies.can_hold(s)]
        require_sound(self.path, wanted, kept)

        starts = [s.start_time * s.time_base for s in kept if s.start_time is not None]
        starts.append(clip.first_pts * clip.time_base)
        shift = common_shift(starts, [clip.time_base, *(s.time_base for s in kept if s.time_base)])
        offset = any(start != shift for start in starts)
        with output_errors(self.path):
            target = open_target(self._partial.path, format_name, clip, kept, offset)
            self._container = target
        for stream in kept or [None]:
            if stream is None or stream.index == clip.stream_index:
                self._stream = self._add_encoder(target, format_name, stream)
            else:
                copies.add(target, stream)
        copy_tags(source, target, shift, self.metadata)
        self._shift = int(shift / clip.time_base)
        self._last_pts: int | None = None
        if clip.interlaced:
            log.warning("%s is interlaced; it is written as progressive", quoted(clip.path))
        with output_errors(self.path):
            target.start_encoding()
        copies.start(target, shift)

    def _add_encoder(self, target: Any, format_name: str, source: Any) -> Any:
        clip, settings = self.clip, self.settings
        codec = find_encoder(settings.codec)
        settings = dataclasses.replace(settings, codec=codec.name)  # "h264" means libx264
        self._pixel_format = _encoder_format(codec, clip, settings.pixel_format)
        try:
            stream = target.add_stream(settings.codec, rate=clip.frame_rate)
        except ValueError as error:
            raise OutputError(
                f"{self.path.suffix} cannot hold {settings.codec}; choose another suffix, or a "
                f"codec that it holds ({'libvpx-vp9' if format_name == 'webm' else 'libx264'})"
            ) from error
        self._rounded = format_name == "avi" or settings.codec in _FIXED_RATE_CODECS
        self._time_base: Fraction = 1 / clip.frame_rate if self._rounded else clip.time_base
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

    def _send(self, packets: list[Any]) -> None:
        assert self._copies is not None
        for packet in packets:
            if packet.dts is not None:
                self._copies.advance(packet.dts * packet.time_base)
            self._container.mux_one(packet)

    def _finish(self) -> None:
        assert self._partial is not None and self._copies is not None
        if not self.frame_count:
            raise OutputError(f"{quoted(self.path)} would be empty: no frame was written")
        with output_errors(self.path):
            self._send(self._stream.encode(None))
            self._copies.advance(None)
            self._container.close()
            self._container = None
        self._partial.publish()

    def _abandon(self) -> None:
        if self._partial is not None:
            self._partial.discard()  # first, so that closing finds no long file to tidy up
        if self._container is not None:
            with contextlib.suppress(FFmpegError, OSError):
                self._container.close()
        if self._copies is not None:
            self._copies.close()
        self._partial, self._container, self._copies = None, None, None


def _remux_into(
    clip: Clip, path: Path, partial: Partial, format_name: str, metadata: Mapping[str, str]
) -> None:
    with open_source(clip.path) as source:
        copies = Copies(source, path, format_name)
        wanted: list[Any] = list(source.streams)
        kept = [stream for stream in wanted if copies.can_hold(stream)]
        if clip.stream_index not in [stream.index for stream in kept]:
            raise OutputError(f"{path.suffix} cannot hold {clip.codec} as it is; choose .mkv")
        require_sound(path, wanted, kept)
        starts = [s.start_time * s.time_base for s in kept if s.start_time is not None]
        shift = common_shift(starts, [s.time_base for s in kept if s.time_base])
        offset = any(start != shift for start in starts)
        target = None
        try:
            with output_errors(path):
                target = open_target(partial.path, format_name, clip, kept, offset)
                for stream in kept:
                    copies.add(target, stream)
                copy_tags(source, target, shift, metadata)
                target.start_encoding()
                copies.start(target, shift)
                copies.advance(None)
                target.close()
        except BaseException:
            partial.discard()
            with contextlib.suppress(FFmpegError, OSError):
                if target is not None:
                    target.close()
            raise


def _check_names(source: Path, output: Path) -> str:
    """FFmpeg's name of the output's container, once nothing speaks against the names."""
    format_name = FORMATS.get(output.suffix.lower())
    with output_errors(output):
        if output.is_dir():
            raise OutputError(f"{quoted(output)} is a folder; give the name of a file to write")
        if format_name is None:
            raise OutputError(
                f"{quoted(output)} has an unknown suffix; one of {', '.join(FORMATS)} is needed"
            )
        if not output.parent.is_dir():
            raise OutputError(f"the folder {quoted(output.parent)} does not exist; create it first")
        if output.exists() and source.exists() and output.samefile(source):
            raise OutputError(f"{quoted(output)} is the input itself; choose another output")
        if output.exists() and not output.is_file():
            raise OutputError(f"{quoted(output)} is no regular file; choose another output")
    return format_name


def _lasting_tags(stream: Any) -> dict[str, str]:
    """A stream's metadata without what was only true of its old encoding."""
    return {
        key: value
        for key, value in stream.metadata.items()
        if key.lower().split("-")[0] not in _STALE_TAGS and not key.startswith("_STATISTICS")
    }


def find_encoder(name: str) -> Any:
    """FFmpeg's video encoder of that name; raises InputError if there is none."""
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
        if settings.preset not in _PRESETS:  # libx264 would print a line of its own
            presets = ", ".join(_PRESETS)
            raise InputError(f"{settings.codec} has no preset {settings.preset!r}; {presets}")
        options["preset"] = settings.preset
    if settings.codec == "libx264":
        options["x264-params"] = "deterministic=1"  # FFmpeg lets threads change the result
    if settings.codec == "libx265":
        options["x265-params"] = "log-level=error"
    if format_name == "avi":
        options["bf"] = "0"  # AVI has no place for a presentation time
    return options | dict(settings.options)


def _open_encoder(context: Any, settings: EncoderSettings) -> None:
    try:
        context.open()
    except (FFmpegError, ValueError) as error:
        raise InputError(
            f"{settings.codec} refuses crf {settings.crf}, preset {settings.preset}, options "
            f"{dict(settings.options)} at {context.width}x{context.height} {context.pix_fmt} "
            f"({reason(error)}); change or drop them"
        ) from error
    unused = sorted(set(context.options) & set(settings.options))
    if unused:
        raise InputError(f"{settings.codec} has no option {unused[0]!r}; check its name")
