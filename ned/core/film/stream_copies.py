"""Copies: everything of a source but the edited picture, packet for packet.

Sound that the target cannot hold is converted on the way.
"""

from __future__ import annotations

import errno
import io
import logging
import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container
from av.error import FFmpegError, InvalidDataError

from ned.core.errors import OutputError, quoted, reason
from ned.core.film.clip import Clip
from ned.core.film.encoder import SoundChoice
from ned.core.film.packets import ANY_TAGS, exact, is_cover, mute, packets_of
from ned.core.film.sound_track import (
    SoundEncoder,
    assume_layout,
    sound_encoder,
    sound_name,
    unfit_sound,
)

log = logging.getLogger(__name__)

_MOST_UNDATED = 64
_STALE_TAGS = {
    *("encoder", "rotate", "duration", "bps", "number_of_frames", "number_of_bytes", "alpha_mode"),
}
_BRAND_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder"}


class Copies:
    """Streams that go from the source to the target packet for packet, as time goes on."""

    def __init__(self, source: Any, path: Path, format_name: str, clip: Clip) -> None:
        self.source = source
        self.path = path
        self.format_name = format_name
        self.clip = clip
        self._encoders: dict[int, SoundEncoder] = {}
        self._streams: dict[int, Any] = {}
        self._last: dict[int, int] = {}
        self._lost: dict[int, int] = {}
        self._undated: dict[int, list[Any]] = {}
        self._waiting: Any = None
        self._packets: Iterator[Any] = iter(())

    def kept(self, wanted: SoundChoice) -> dict[Any, str | None]:
        """The source's streams that go into the target, and the encoder of converted sound.

        What is left out or converted is told.

        Raises:
            OutputError: A stream of sound cannot be kept as the settings want it.
        """
        streams: list[Any] = list(self.source.streams) if self.source is not None else []
        return {
            stream: encoder
            for stream in streams
            for held, encoder in [self._plan(stream, wanted)]
            if held
        }

    def _plan(self, stream: Any, wanted: SoundChoice) -> tuple[bool, str | None]:
        """Whether a stream goes into the target, and the encoder of converted sound."""
        if stream.index == self.clip.stream_index:
            return True, None
        if stream.type == "data" and stream.name in (None, "bin_data"):
            return False, None  # QuickTime's time code and chapter tracks: muxers make their own
        if stream.type == "audio":
            return self._plan_sound(stream, wanted)
        problem = "a cover picture" if is_cover(stream) else trial(stream, self.format_name)
        if problem is not None:
            self.clip.told.warn(
                self.path,
                f"{stream.type} stream {stream.index} is left out, {self.path.suffix} cannot hold "
                f"it ({problem})",
            )
        return problem is None, None

    def _plan_sound(self, stream: Any, wanted: SoundChoice) -> tuple[bool, str | None]:
        if wanted == "none":
            return False, None
        told, kind = self.clip.told, self.format_name
        context = stream.codec_context
        name = context.name if context is not None else "unknown"
        assume_layout(stream)
        fits = trial(stream, kind) is None
        encoder = sound_encoder(stream, wanted, fits, kind)
        what = f"sound stream {stream.index} ({name})"
        if encoder is None:
            if not fits:
                raise OutputError(unfit_sound(self.path, kind, f"{name} (stream {stream.index})"))
            return True, None
        if context is None:
            told.warn(self.path, f"{what} is left out, there is no decoder for it")
            return False, None
        if wanted == "auto":
            told.warn(
                self.path,
                f"{what} becomes {sound_name(encoder)}, {self.path.suffix} cannot hold it as it is",
            )
        return True, encoder

    def add(self, target: Any, stream: Any, encoder: str | None) -> None:
        """Begin a copy, or a conversion, of one stream in the target."""
        if encoder is None:
            self._streams[stream.index] = add_copy(target, stream)
            return
        context = stream.codec_context
        made = SoundEncoder(
            target,
            self.path,
            self.format_name,
            encoder,
            context.sample_rate,
            context.layout.name,
        )
        made.stream.metadata.update(lasting_tags(stream))
        made.stream.disposition = int(stream.disposition)
        self._encoders[stream.index] = made
        self._streams[stream.index] = made.stream

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
            self._packets = packets_of(self.source, wanted, self.clip.path, self.clip.told)

    def advance(self, until: Fraction | None) -> None:
        """Write the packets that are due up to a time in the target, or all that are left."""
        while True:
            packet = self._waiting if self._waiting is not None else next(self._packets, None)
            self._waiting = None
            if packet is None:
                break
            if packet.dts is None and packet.pts is None and packet.size == 0:
                continue  # the end of a stream
            when = packet.dts if packet.dts is not None else packet.pts
            due = until is None or when is None or when * packet.time_base - self._shift <= until
            if not due:
                self._waiting = packet
                return
            for dated in self._date(packet):
                self._write(dated)
        if until is None:
            for packets in self._undated.values():
                for packet in packets:
                    self._write(packet)
            for index, encoder in self._encoders.items():
                self._encode(index, self._decoded(index, None))
                encoder.finish()
            for index, count in self._lost.items():
                self.clip.told.warn(
                    self.path, f"{count} packets of stream {index} were left out, they are damaged"
                )

    def _date(self, packet: Any) -> list[Any]:
        """Packets with decoding times: Matroska gives none to a film's first pictures.

        They are held back until a packet has one, and count down from there.
        """
        index = packet.stream_index
        undated = self._undated.setdefault(index, [])
        video = self.source.streams[index].type == "video"
        if not video or (index in self._last and not undated):
            return [packet]
        if packet.dts is None and len(undated) < _MOST_UNDATED:
            undated.append(packet)
            return []
        step = self._step(packet)
        if packet.dts is not None:
            for distance, earlier in enumerate(reversed(undated), start=1):
                earlier.dts = packet.dts - distance * step
        self._undated[index] = []
        return [*undated, packet]

    def _step(self, packet: Any) -> int:
        """One picture's usual duration in units of a video packet's time base."""
        rate = exact(self.source.streams[packet.stream_index].guessed_rate) or Fraction(25)
        return max(1, round(1 / (rate * packet.time_base)))

    def _write(self, packet: Any) -> None:
        index = packet.stream_index
        if index in self._encoders:
            self._encode(index, self._decoded(index, packet))
            return
        stream = self._streams[index]
        factor = Fraction(packet.time_base) / stream.time_base
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
        duration = packet.duration or 0
        if not duration and self.source.streams[index].type == "video":
            duration = self._step(packet)  # or the film would end before its last picture
        if self.format_name == "avi" and when < 0:
            # AVI has no place for an encoder's first samples, which are before the sound's
            # beginning: its muxer would let all pictures wait for them.
            if when + _nearest(duration * factor) <= 0:
                return
            when = 0
        packet.duration = _nearest(duration * factor)
        packet.dts, packet.pts = when, max(pts, when)
        packet.time_base = stream.time_base
        packet.stream = stream
        try:
            self._target.mux_one(packet)
        except FFmpegError as error:
            if not isinstance(error, InvalidDataError) and error.errno != errno.EINVAL:
                raise  # the disk, not the packet
            self._lost[index] = self._lost.get(index, 0) + 1
            log.debug("%s: stream %d: %s", quoted(self.path), index, reason(error))
        else:
            self._last[index] = when

    def _decoded(self, index: int, packet: Any) -> list[Any]:
        """Frames of sound that a packet holds, or at the end those that are left."""
        try:
            return self.source.streams[index].decode(packet)
        except FFmpegError as error:
            self._lost[index] = self._lost.get(index, 0) + 1
            log.debug("%s: stream %d: %s", quoted(self.path), index, reason(error))
            return []

    def _encode(self, index: int, frames: list[Any]) -> None:
        for frame in frames:
            if frame.pts is not None:
                self._encoders[index].write(frame, frame.pts * frame.time_base - self._shift)

    def close(self) -> None:
        """Let go of the source."""
        if self.source is not None:
            self.source.close()


def open_target(path: Path, format_name: str, clip: Clip, kept: list[Any], offset: bool) -> Any:
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
        **ANY_TAGS,
    )


def add_copy(target: Any, stream: Any) -> Any:
    """A stream of the target for another one's packets."""
    copy = target.add_stream_from_template(stream, opaque=True)
    if stream.type == "audio":
        assume_layout(copy)
    copy.disposition = int(stream.disposition)
    copy.metadata.update(stream.metadata)
    return copy


def trial(stream: Any, format_name: str) -> str | None:
    """Why a container refuses a stream, found out by trying in memory; None where it does not."""
    try:
        target = av.open(io.BytesIO(), "w", format=format_name, **ANY_TAGS)
        add_copy(target, stream)
        target.start_encoding()
        target.close()
    except (FFmpegError, OSError, ValueError) as error:
        return reason(error)
    return None


def lasting_tags(stream: Any) -> dict[str, str]:
    """A stream's metadata without what was only true of its old encoding."""
    return {
        key: value
        for key, value in stream.metadata.items()
        if key.lower().split("-")[0] not in _STALE_TAGS and not key.startswith("_STATISTICS")
    }


def common_shift(starts: list[Fraction], time_bases: list[Fraction]) -> Fraction:
    """Seconds to take off every time so that the target begins near zero.

    A multiple of every time base, so that no time is rounded; zero where the source begins at
    or before zero.
    """
    unit = Fraction(time_bases[0])
    for base in time_bases[1:]:
        unit = Fraction(
            math.lcm(unit.numerator, base.numerator), math.gcd(unit.denominator, base.denominator)
        )
    return max(Fraction(0), min(starts) // unit * unit)


def copy_tags(source: Any, target: Any, shift: Fraction, metadata: Mapping[str, str]) -> None:
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


def _nearest(value: Fraction | int) -> int:
    """Rounded to the nearest integer, halves away from zero, as FFmpeg rounds times."""
    return math.floor(value + Fraction(1, 2)) if value >= 0 else math.ceil(value - Fraction(1, 2))
