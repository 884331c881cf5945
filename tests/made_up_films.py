"""Made-up films: small videos with every stream that a film may have, and what is in them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from ned.core.film.clip import Clip, Colour


def pattern(index: int, width: int, height: int) -> np.ndarray:
    """(height, width, 3) uint8 RGB: smooth colours that move with the index."""
    x = np.linspace(0, 1, width)[None, :] + np.zeros((height, 1))
    y = np.linspace(0, 1, height)[:, None] + np.zeros((1, width))
    waves = [np.sin(6 * x + 0.2 * index), np.cos(5 * y + 0.1 * index), np.sin(4 * (x + y) + index)]
    return np.round(127 + 100 * np.stack(waves, -1)).astype(np.uint8)


def make_video(
    path: Path,
    count: int = 20,
    size: tuple[int, int] = (96, 64),
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    rate: Fraction = Fraction(25),
    time_base: Fraction | None = None,
    times: Sequence[int] | None = None,
    colour: Colour | None = None,
    aspect: Fraction | None = None,
    rotation: int = 0,
    audio: Sequence[str] = (),
    audio_start: Fraction = Fraction(0),
    subtitles: Sequence[tuple[int, int, bytes]] = (),
    chapters: Sequence[str] = (),
    metadata: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write a synthetic video; `times` are in units of `time_base`, subtitles in milliseconds."""
    time_base = time_base or 1 / rate
    times = times if times is not None else [round(i / rate / time_base) for i in range(count)]
    with av.open(f"file:{path}", "w", container_options=container_options or {}) as target:
        video: Any = target.add_stream(codec, rate=rate)
        video.width, video.height = size
        video.pix_fmt = pixel_format
        video.time_base = time_base
        video.codec_context.time_base = time_base
        if codec == "libx264":
            video.options = {"crf": "4", "preset": "veryfast"}
        if colour:
            context = video.codec_context
            context.color_range, context.colorspace = colour.range, colour.space
            context.color_primaries, context.color_trc = colour.primaries, colour.transfer
        if aspect:
            video.codec_context.sample_aspect_ratio = aspect
        if rotation:
            video.set_display_rotation(rotation)
        voices: list[Any] = []
        for number, name in enumerate(audio):
            voice: Any = target.add_stream(name, rate=48000)
            voice.metadata["language"] = ("eng", "fra", "deu")[number]
            voices.append(voice)
        texts: Any = None
        if subtitles:
            texts = target.add_mux_stream("subrip", time_base=Fraction(1, 1000))
        if chapters:
            target.set_chapters(
                [
                    {
                        "id": number,
                        "start": 200 * number,
                        "end": 200 * number + 200,
                        "time_base": Fraction(1, 1000),
                        "metadata": {"title": title},
                    }
                    for number, title in enumerate(chapters)
                ]
            )
        target.metadata.update(metadata or {})
        target.start_encoding()
        for start, duration, words in subtitles:
            packet = av.Packet(words)
            packet.stream = texts
            packet.time_base = Fraction(1, 1000)
            packet.pts = packet.dts = start
            packet.duration = duration
            target.mux(packet)
        for index, pts in enumerate(times):
            picture = av.VideoFrame.from_ndarray(pattern(index, *size), "rgb24")
            picture = picture.reformat(format=pixel_format, dst_colorspace=5)
            picture.pts, picture.time_base = pts, time_base
            target.mux(video.encode(picture))
        target.mux(video.encode(None))
        seconds = float((times[-1] - times[0] + 1) * time_base) if times else 0
        for number, voice in enumerate(voices):
            _add_tone(target, voice, seconds, 300 + 200 * number, audio_start)
    return path


def _add_tone(target: Any, voice: Any, seconds: float, pitch: float, start: Fraction) -> None:
    samples = np.sin(np.arange(int(48000 * seconds)) * pitch * 2 * np.pi / 48000) * 0.3
    size = voice.codec_context.frame_size or 1024
    format_name = voice.codec_context.format.name
    for offset in range(0, len(samples), size):
        block = np.repeat(samples[None, offset : offset + size], 2, 0).astype(np.float32)
        if format_name == "s16":
            block = (block.T * 32767).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format_name, "stereo")
        frame.sample_rate = 48000
        frame.pts = offset + int(start * 48000)
        frame.time_base = Fraction(1, 48000)
        target.mux(voice.encode(frame))
    target.mux(voice.encode(None))


HOSTILE_NAMES = [
    "two words.mp4",
    'it\'s "quoted".mp4',
    "-y.mp4",
    "new\nline.mp4",
    "ünï 日本.mp4",
    "100%d%.mp4",
    "a:b.mp4",
    "concat:a|b.mp4",
    "*?[x]{y}.mp4",
    "#1.mp4",
    os.fsdecode(b"bad\xff.mp4"),
    "x" * 250 + ".mp4",
]


def packets(path: Path, kind: str) -> list[list[tuple[Fraction, bytes]]]:
    """Time in seconds and bytes of every packet, for each stream of one kind."""
    streams = []
    with av.open(f"file:{path}") as container:
        indices = [s.index for s in container.streams if s.type == kind]
    for index in indices:
        with av.open(f"file:{path}") as container:
            stream: Any = container.streams[index]
            found = [p for p in container.demux(stream) if p.size]
            streams.append([(Fraction(p.pts or 0) * p.time_base, bytes(p)) for p in found])
    return streams


def times(clip: Clip) -> list[Fraction]:
    """Presentation times in seconds, exact."""
    return [frame.pts * clip.time_base for frame in clip.frames()]


def assert_same_film(source: Clip, result: Clip, tolerance: float = 0.0) -> None:
    """Equal frame times and copied audio, up to one common shift."""
    before, after = times(source), times(result)
    assert len(before) == len(after)
    shift = after[0] - before[0]
    assert max(abs(b - a - shift) for a, b in zip(before, after, strict=True)) <= tolerance
    voices, copies = packets(source.path, "audio"), packets(result.path, "audio")
    assert len(voices) == len(copies)
    for voice, copy in zip(voices, copies, strict=True):
        assert [data for _, data in voice] == [data for _, data in copy]
        drift = [abs(b - a - shift) for (a, _), (b, _) in zip(voice, copy, strict=True)]
        assert max(drift) <= max(tolerance, 1 / 90000)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
