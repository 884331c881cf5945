"""VideoWriter: frames back into a video that keeps everything else of its source.

Timestamps, colour tags, bit depth, transparency and pixel shape are the source's; sound,
subtitles, chapters and attachments are copied packet for packet where the container can hold
them. A file appears under its name when it is complete.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.error import FFmpegError

from ned.core.errors import InputError, OutputError, quoted
from ned.core.files.partial import Partial, output_errors
from ned.core.film.clip import Clip, Frame
from ned.core.film.encoder import FORMATS, EncoderSettings, SoundChoice
from ned.core.film.packets import open_source
from ned.core.film.picture_encoder import FIXED_RATE_CODECS, add_encoder, chosen_codec
from ned.core.film.planes import (
    FULL_RANGE,
    LIMITED_RANGE,
    convert,
    depth_of,
    picture_from_planes,
    rescaled,
    with_alpha,
)
from ned.core.film.sound_track import NewTrack, Replacement
from ned.core.film.stream_copies import (
    Copies,
    add_copy,
    common_shift,
    copy_tags,
    lasting_tags,
    open_target,
    trial,
)


def check_output(source: str | Path, output: str | Path) -> None:
    """Find out, before any long work, whether a result can be written.

    Raises:
        OutputError: The output is the source, a folder or of an unknown kind, or its folder is
            missing or refuses a new file.
    """
    _check_names(Path(source), Path(output))
    Partial(Path(output)).discard()


def copying_problem(clip: Clip, path: str | Path) -> str | None:
    """Why a clip's pictures cannot be copied into a file as they are; None where they can."""
    path = Path(path)
    if clip.is_image:
        return "it is a still image"
    format_name = FORMATS.get(path.suffix.lower(), "")
    same = FORMATS.get(clip.path.suffix.lower()) == format_name
    with open_source(clip.path, clip.largest) as source:
        stream = source.streams[clip.stream_index]
        problem = trial(stream, format_name)
        if problem is not None:
            return f"{path.suffix} cannot hold {clip.codec} as it is"
        if not clip.ordered and not same:
            return f"{quoted(clip.path)} tells no times of presentation"
        if format_name == "avi" and not same and stream.codec_context.has_b_frames:
            return ".avi has no place for the times of B-frames"
    return None


def remux(
    clip: Clip,
    path: str | Path,
    metadata: Mapping[str, str] | None = None,
    sound: SoundChoice = "auto",
) -> None:
    """Copy a clip with everything in it, pictures included, without encoding them again.

    Args:
        clip: a video, not an image.
        path: the new file; its suffix chooses the container.
        metadata: further tags of the file. Without any, and with the source's own kind of
            container and sound, the result is the source byte for byte.
        sound: what becomes of the sound, as in `EncoderSettings`.

    Raises:
        InputError: The clip is an image.
        OutputError: The container cannot hold the video, or the file cannot be written.
    """
    path = Path(path)
    if clip.is_image:
        raise InputError(f"{quoted(clip.path)} is a still image; it has no streams to copy")
    format_name = _check_names(clip.path, path)
    problem = copying_problem(clip, path)
    if problem is not None:
        raise OutputError(f"{problem}; choose .mkv, or let it be encoded anew")
    partial = Partial(path)
    whole = not metadata and sound in ("auto", "copy")
    try:
        if whole and FORMATS.get(clip.path.suffix.lower()) == format_name:
            with output_errors(path):
                shutil.copyfile(clip.path, partial.address)
        else:
            _remux_into(clip, path, partial, format_name, metadata or {}, sound)
        partial.publish()
    finally:
        partial.discard()


class VideoWriter:
    """Writes the frames of a clip, and whatever else the clip holds, to a new file.

    A context manager: on leaving it normally the file is complete and takes its name, on any
    exception nothing is left behind. One frame goes out per frame written, at the same time.
    4:2:0 pictures of odd size become 4:4:4 for codecs that need even sizes. Matroska counts in
    milliseconds and AVI in frames: times are rounded to that when they come from elsewhere.

    Attributes:
        frame_count: how many frames were written.
    """

    def __init__(
        self,
        path: str | Path,
        clip: Clip,
        settings: EncoderSettings | None = None,
        metadata: Mapping[str, str] | None = None,
        *,
        sound: Replacement | None = None,
        finish: Callable[[Path], None] | None = None,
    ) -> None:
        """Prepare; the file is begun on entering the context.

        Args:
            path: the new file; its suffix chooses the container.
            clip: the source of the frames.
            settings: how to encode; None for the defaults.
            metadata: further tags of the file, over those of the source.
            sound: takes the place of the source's sound: a file with sound, samples, or packets
                of a source that stays open; its zero is the first picture.
            finish: a last step, given the complete file before it takes its name; it may change
                or replace that file. If it raises, nothing is published.
        """
        self.path = Path(path)
        self.clip = clip
        self.settings = settings or EncoderSettings()
        self.metadata = dict(metadata or {})
        self.sound = sound
        self.finish = finish
        self.frame_count = 0
        self._partial: Partial | None = None
        self._container: Any = None
        self._copies: Copies | None = None
        self._new_track: NewTrack | None = None

    def check(self) -> None:
        """Find out, before any long work, whether frames can be written; nothing is left behind.

        Raises:
            InputError, OutputError: As on entering the context.
        """
        try:
            self.__enter__()
        finally:
            self._abandon()

    def __enter__(self) -> VideoWriter:
        """Begin the file.

        Raises:
            InputError: The codec, its options or the pixel format do not exist.
            OutputError: The file cannot be written, or its container cannot hold the codec or
                the sound.
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
        source = None if clip.is_image else open_source(clip.path, clip.largest)
        self._copies = copies = Copies(source, self.path, format_name, clip)
        wanted = self.settings.sound
        if self.sound is not None:
            self._new_track = NewTrack(self.sound, self.path, format_name, wanted)
            wanted = "none"
        kept = copies.kept(wanted)

        starts = [s.start_time * s.time_base for s in kept if s.start_time is not None]
        starts.append(clip.first_pts * clip.time_base)
        shift = common_shift(starts, [clip.time_base, *(s.time_base for s in kept if s.time_base)])
        offset = any(start != shift for start in starts)
        with output_errors(self.path):
            target = open_target(self._partial.address, format_name, clip, list(kept), offset)
            self._container = target
        codec = chosen_codec(self.settings, clip, format_name)
        self._rounded = format_name == "avi" or codec in FIXED_RATE_CODECS
        self._time_base: Fraction = 1 / clip.frame_rate if self._rounded else clip.time_base
        self._ratio = clip.time_base / self._time_base
        for stream, encoder in kept.items() if kept else [(None, None)]:
            if stream is None or stream.index == clip.stream_index:
                self._stream = add_encoder(
                    target, self.path, clip, self.settings, format_name, self._time_base
                )
                if stream is not None:
                    self._stream.disposition = int(stream.disposition)
                    self._stream.metadata.update(lasting_tags(stream))
            else:
                copies.add(target, stream, encoder)
        if self._new_track is not None:
            self._new_track.add(target, add_copy, lambda stream: not trial(stream, format_name))
        self._pixel_format = self._stream.codec_context.pix_fmt
        copy_tags(source, target, shift, self.metadata)
        self._shift = int(shift / clip.time_base)
        self._last_pts: int | None = None
        if clip.interlaced:
            clip.told.warn(clip.path, "it is interlaced and is written as progressive")
        with output_errors(self.path):
            target.start_encoding()
        copies.start(target, shift)
        if self._new_track is not None:
            self._new_track.start(target, clip.first_pts * clip.time_base - shift)

    def _ticks(self, pts: int) -> int:
        shifted = pts - self._shift
        return round(shifted * self._ratio) if self._rounded else shifted

    def _picture(self, frame: Frame) -> av.VideoFrame:
        clip, picture = self.clip, frame.picture
        if picture is None or picture.format.name != clip.pixel_format:
            picture = picture_from_planes(frame.planes, clip.pixel_format)
        opaque = self._pixel_format.replace("yuva", "yuv") if frame.alpha is not None else None
        wanted = opaque or self._pixel_format
        if wanted != clip.pixel_format:
            samples = FULL_RANGE if clip.full_range else LIMITED_RANGE
            picture = convert(picture, wanted, clip.matrix, samples, samples)
        if frame.alpha is not None and wanted != self._pixel_format:
            alpha = rescaled(frame.alpha, clip.bit_depth, depth_of(self._pixel_format))
            picture = with_alpha(picture, alpha, self._pixel_format)
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
                now = packet.dts * packet.time_base
                self._copies.advance(now)
                if self._new_track is not None:
                    self._new_track.advance(now)
            self._container.mux_one(packet)

    def _finish(self) -> None:
        assert self._partial is not None and self._copies is not None
        if not self.frame_count:
            raise OutputError(f"{quoted(self.path)} would be empty: no frame was written")
        with output_errors(self.path):
            self._send(self._stream.encode(None))
            self._copies.advance(None)
            if self._new_track is not None:
                self._new_track.advance(None)
            self._container.close()
            self._container = None
        if self.finish is not None:
            self.finish(self._partial.path)
            self._partial.renew()
        self._partial.publish()

    def _abandon(self) -> None:
        if self._partial is not None:
            self._partial.discard()  # first, so that closing finds no long file to tidy up
        if self._container is not None:
            with contextlib.suppress(FFmpegError, OSError):
                self._container.close()
        if self._copies is not None:
            self._copies.close()
        if self._new_track is not None:
            self._new_track.close()
        self._partial, self._container, self._copies, self._new_track = None, None, None, None


def _remux_into(
    clip: Clip,
    path: Path,
    partial: Partial,
    format_name: str,
    metadata: Mapping[str, str],
    sound: SoundChoice,
) -> None:
    with open_source(clip.path, clip.largest) as source:
        copies = Copies(source, path, format_name, clip)
        kept = copies.kept(sound)
        starts = [s.start_time * s.time_base for s in kept if s.start_time is not None]
        shift = common_shift(starts, [s.time_base for s in kept if s.time_base])
        offset = any(start != shift for start in starts)
        target = None
        try:
            with output_errors(path):
                target = open_target(partial.address, format_name, clip, list(kept), offset)
                for stream, encoder in kept.items():
                    copies.add(target, stream, encoder)
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
