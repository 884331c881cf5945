"""Sound track: sound that is encoded anew, converted from the source's or given in its place."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from ned.core.errors import InputError, OutputError, quoted, reason
from ned.core.film.encoder import (
    FORMATS,
    SOUND_BIT_RATES,
    SOUND_ENCODERS,
    SUFFIX_THAT_HOLDS_MOST,
    USUAL_SOUND,
    SoundChoice,
)
from ned.core.film.packets import Told, open_source, packets_of

_BLOCK = 1024  # samples
_LAYOUTS = {1: "mono", 2: "stereo"}
_OPUS_RATE = 48000
_HIGHEST_RATE = 96000
# Containers that take a stream, and refuse it only when the first packet is written.
_REFUSED = {(name, sound) for name in ("mov", "avi") for sound in ("flac", "libopus")}
_NAMES = {"libopus": "Opus", "aac": "AAC", "flac": "FLAC", "pcm_s16le": "PCM"}
_DECODED_BY = {"libopus": "opus"}


@dataclass(frozen=True, eq=False)
class NewSound:
    """Sound as samples.

    Attributes:
        samples: (N,) mono or (N, 2) stereo, full scale 1.
        rate: samples per second.
        start: seconds of the first one after the film's first picture.
    """

    samples: NDArray[np.floating]
    rate: int
    start: float = 0.0


Replacement = NewSound | str | Path | Iterable[Any]


def assume_layout(stream: Any) -> None:
    """Let sound whose channels are only counted be mono or stereo."""
    context = stream.codec_context
    if context is None:
        return
    layout = context.layout
    if layout.name.endswith("channels") and layout.nb_channels in _LAYOUTS:
        context.layout = _LAYOUTS[layout.nb_channels]


def sound_encoder(stream: Any, wanted: SoundChoice, fits: bool, format_name: str) -> str | None:
    """The encoder by which a sound stream is converted; None where it is copied.

    Args:
        stream: of the source.
        wanted: by the settings; not "none".
        fits: whether the container takes the stream as it is.
        format_name: the container's.
    """
    usual = USUAL_SOUND.get(format_name, "aac")
    if wanted in ("auto", "copy"):
        return None if fits or wanted == "copy" else usual
    encoder = SOUND_ENCODERS[wanted]
    context = stream.codec_context
    same = context is not None and context.name == _DECODED_BY.get(encoder, encoder)
    return None if same and fits else encoder


def sound_name(encoder: str) -> str:
    """What people call an encoder's sound."""
    return _NAMES.get(encoder, encoder)


class SoundEncoder:
    """Frames of sound become packets of a stream of the target.

    Attributes:
        stream: the target's.
    """

    def __init__(
        self, target: Any, path: Path, format_name: str, encoder: str, rate: int, layout: str
    ) -> None:
        """Add the stream.

        Raises:
            OutputError: The container cannot hold such sound.
        """
        self._target = target
        fastest = _HIGHEST_RATE if encoder == "aac" else rate
        self._rate = _OPUS_RATE if encoder == "libopus" else min(rate, fastest)
        if (format_name, encoder) in _REFUSED:
            raise OutputError(unfit_sound(path, format_name, sound_name(encoder)))
        try:
            self.stream = target.add_stream(encoder, rate=self._rate, layout=layout)
        except ValueError as error:
            raise OutputError(unfit_sound(path, format_name, sound_name(encoder))) from error
        context = self.stream.codec_context
        if encoder in SOUND_BIT_RATES:
            context.bit_rate = SOUND_BIT_RATES[encoder] * context.layout.nb_channels
        try:
            context.open()
        except (FFmpegError, ValueError) as error:
            raise OutputError(
                f"{sound_name(encoder)} cannot hold sound of {rate} Hz, {layout} "
                f"({reason(error)}); --sound flac with .mkv can, --sound none leaves it out"
            ) from error

    def write(self, frame: Any, when: Fraction) -> None:
        """Encode one frame that begins so many seconds into the target."""
        frame.time_base = Fraction(1, frame.sample_rate)
        frame.pts = round(when * frame.sample_rate)
        self._mux(self.stream.encode(frame))

    def finish(self) -> None:
        """Encode what is left."""
        self._mux(self.stream.encode(None))

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            self._target.mux_one(packet)


def unfit_sound(path: Path, format_name: str, what: str) -> str:
    """The message that a container cannot hold some sound."""
    usual = sound_name(USUAL_SOUND.get(format_name, "aac"))
    way = {"AAC": "--sound aac converts it", "Opus": "--sound opus converts it"}.get(
        usual, "--sound auto converts it"
    )
    other = "" if FORMATS.get(SUFFIX_THAT_HOLDS_MOST) == format_name else "choose -o with .mkv, or "
    return f"{path.suffix} cannot hold {what} sound as it is; {other}{way}, --sound none drops it"


class NewTrack:
    """Sound that takes the place of the source's, encoded or copied as time goes on."""

    def __init__(
        self, sound: Replacement, path: Path, format_name: str, wanted: SoundChoice
    ) -> None:
        self.path = path
        self._format_name = format_name
        self._wanted: SoundChoice = "auto" if wanted == "none" else wanted
        self._source: Any = None
        self._encoder: SoundEncoder | None = None
        self._copy: Any = None
        self._waiting: Any = None
        self._template: Any = None
        self._pieces: Iterator[Any] = iter(())
        if isinstance(sound, NewSound):
            self._sound: NewSound | None = sound
            self._pieces = _blocks(sound)
            return
        self._sound = None
        if isinstance(sound, str | Path):
            self._source = open_source(Path(sound))
            if not self._source.streams.audio:
                raise InputError(f"{quoted(sound)} holds no sound; give a file that does")
            self._template = self._source.streams.audio[0]
            self._pieces = packets_of(self._source, self._template, Path(sound), Told())
        else:
            packets = iter(sound)
            first = next(packets, None)
            if first is None:
                raise InputError("the new sound has no packets; leave sound out for silence")
            self._template = first.stream
            self._pieces = itertools.chain([first], packets)
        assume_layout(self._template)

    def add(self, target: Any, copy: Any, fits: Any) -> None:
        """Begin the stream in the target.

        Args:
            target: the open container.
            copy: adds a copy of a stream to it.
            fits: tells whether its kind takes a stream as it is.

        Raises:
            OutputError: The container cannot hold such sound.
        """
        kind, path = self._format_name, self.path
        if self._sound is not None:
            usual = USUAL_SOUND.get(kind, "aac")
            encoder = SOUND_ENCODERS.get(self._wanted, usual)
            channels = 1 if self._sound.samples.ndim == 1 else self._sound.samples.shape[1]
            if channels not in _LAYOUTS:
                raise InputError(f"the new sound has {channels} channels; give one or two")
            self._encoder = SoundEncoder(
                target, path, kind, encoder, self._sound.rate, _LAYOUTS[channels]
            )
            return
        stream = self._template
        takes = fits(stream)
        chosen = sound_encoder(stream, self._wanted, takes, kind)
        if chosen is not None:
            context = stream.codec_context
            layout = context.layout.name
            self._encoder = SoundEncoder(target, path, kind, chosen, context.sample_rate, layout)
        elif takes:
            self._copy = copy(target, stream)
        else:
            raise OutputError(unfit_sound(path, kind, stream.codec_context.name))

    def start(self, target: Any, offset: Fraction) -> None:
        """Begin to write; the sound's zero is `offset` seconds into the target."""
        self._target, self._offset = target, offset

    def advance(self, until: Fraction | None) -> None:
        """Write what is due up to a time in the target, or all that is left.

        Raises:
            InputError: The sound cannot be decoded.
        """
        while True:
            piece = self._waiting if self._waiting is not None else next(self._pieces, None)
            self._waiting = None
            if piece is None:
                break
            if piece.pts is None:
                continue  # the end of a stream
            when = piece.pts * piece.time_base + self._offset
            if until is not None and when > until:
                self._waiting = piece
                return
            self._write(piece, when)
        if until is None and self._encoder is not None:
            if self._template is not None:
                self._write_frames(self._template.decode(None))
            self._encoder.finish()

    def close(self) -> None:
        """Let go of the file."""
        if self._source is not None:
            self._source.close()

    def _write(self, piece: Any, when: Fraction) -> None:
        if self._encoder is None:
            base = self._copy.time_base
            dts = piece.dts if piece.dts is not None else piece.pts
            shift = when - piece.pts * piece.time_base
            start = dts * piece.time_base + shift
            piece.pts, piece.dts = round(when / base), round(start / base)
            piece.duration = round((piece.duration or 0) * piece.time_base / base)
            piece.time_base, piece.stream = base, self._copy
            self._target.mux_one(piece)
        elif self._template is None:
            self._encoder.write(piece, when)
        else:
            try:
                frames = self._template.decode(piece)
            except FFmpegError as error:
                raise InputError(f"the new sound cannot be decoded: {reason(error)}") from error
            self._write_frames(frames)

    def _write_frames(self, frames: list[Any]) -> None:
        assert self._encoder is not None
        for frame in frames:
            if frame.pts is not None:
                self._encoder.write(frame, frame.pts * frame.time_base + self._offset)


def _blocks(sound: NewSound) -> Iterator[Any]:
    """Frames of a block of samples each, with times from the film's first picture."""
    samples = np.asarray(sound.samples, np.float32)
    samples = samples[:, None] if samples.ndim == 1 else samples
    first = round(sound.start * sound.rate)
    silence = np.zeros((max(first, 0), samples.shape[1]), np.float32)  # AVI keeps no gap
    samples = np.concatenate([silence, samples[max(-first, 0) :]])
    for begin in range(0, len(samples), _BLOCK):
        block = np.ascontiguousarray(samples[begin : begin + _BLOCK].T)
        frame = av.AudioFrame.from_ndarray(block, "fltp", _LAYOUTS[len(block)])
        frame.sample_rate = sound.rate
        frame.pts, frame.time_base = begin, Fraction(1, sound.rate)
        yield frame
