"""Encoder: how a result is encoded; the one place of these defaults.

libx264's values of `QUALITIES` are measured in docs/formats.md; those of other codecs are
estimates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Quality = Literal["draft", "delivery", "master"]
SoundChoice = Literal["auto", "copy", "aac", "opus", "flac", "none"]
SOUND_CHOICES: tuple[SoundChoice, ...] = get_args(SoundChoice)

# Suffixes of results, and FFmpeg's names of their containers.
FORMATS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
}
SUFFIX_THAT_HOLDS_MOST = ".mkv"

# The usual encoder of a container's pictures; of pictures with alpha where the container has one.
USUAL_CODEC = {"webm": "libvpx-vp9"}
USUAL_ALPHA_CODEC = {"mov": "prores_ks", "matroska": "ffv1", "webm": "libvpx-vp9"}
ALPHA_CODECS = {"prores_ks": ("mov", "matroska"), "ffv1": ("matroska",)}
ALPHA_CODECS |= {"libvpx-vp9": ("webm", "matroska")}
ALPHA_FORMATS = {"libvpx-vp9": ("yuva420p",)}  # where the encoder knows fewer than it lists

# The usual encoder of sound that a container cannot hold as it is, and those of each choice.
USUAL_SOUND = {"webm": "libopus", "avi": "pcm_s16le"}
SOUND_ENCODERS = {"aac": "aac", "opus": "libopus", "flac": "flac"}
SOUND_BIT_RATES = {"aac": 128_000, "libopus": 96_000}  # bits per second and channel

_LOSSLESS = {"level": "3", "slicecrc": "1"}  # with sums against damage
_FAST_VP9 = {"deadline": "realtime", "cpu-used": "8"}
_GOOD_VP9 = {"deadline": "good", "row-mt": "1"}

# Options of FFmpeg's encoders for each quality; "qscale" is a quantiser from 1 (best) to 31.
QUALITIES: Mapping[str, Mapping[Quality, Mapping[str, str]]] = {
    "libx264": {
        "draft": {"crf": "24", "preset": "superfast"},
        "delivery": {"crf": "18", "preset": "medium"},
        "master": {"crf": "9", "preset": "medium"},
    },
    "libx265": {
        "draft": {"crf": "26", "preset": "superfast"},
        "delivery": {"crf": "18", "preset": "fast"},
        "master": {"crf": "9", "preset": "medium"},
    },
    "libvpx-vp9": {
        "draft": {"crf": "36", **_FAST_VP9},
        "delivery": {"crf": "22", "cpu-used": "4", **_GOOD_VP9},
        "master": {"crf": "8", "cpu-used": "2", **_GOOD_VP9},
    },
    "libsvtav1": {
        "draft": {"crf": "38", "preset": "11"},
        "delivery": {"crf": "22", "preset": "8"},
        "master": {"crf": "8", "preset": "6"},
    },
    "prores_ks": {
        "draft": {"profile": "proxy"},
        "delivery": {"profile": "standard"},
        "master": {"profile": "hq"},
    },
    "dnxhd": {
        "draft": {"profile": "dnxhr_lb"},
        "delivery": {"profile": "dnxhr_sq"},
        "master": {"profile": "dnxhr_hq"},
    },
    "mpeg4": {"draft": {"qscale": "8"}, "delivery": {"qscale": "3"}, "master": {"qscale": "2"}},
    "mpeg2video": {
        "draft": {"qscale": "8"},
        "delivery": {"qscale": "3"},
        "master": {"qscale": "2"},
    },
    "mjpeg": {"draft": {"qscale": "8"}, "delivery": {"qscale": "3"}, "master": {"qscale": "2"}},
    "ffv1": {"draft": _LOSSLESS, "delivery": _LOSSLESS, "master": _LOSSLESS},
}
# Profiles for pictures that the ones above cannot hold.
FULL_COLOUR_PROFILES = {"prores_ks": "4444", "dnxhd": "dnxhr_444"}
TEN_BIT_PROFILES = {"dnxhd": "dnxhr_hqx"}

# The option that `preset` sets, and the values that it takes.
PRESETS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        ("libx264", "libx265"),
        (
            "preset",
            (
                *("ultrafast", "superfast", "veryfast", "faster", "fast", "medium"),
                *("slow", "slower", "veryslow", "placebo"),
            ),
        ),
    ),
    "libsvtav1": ("preset", tuple(str(number) for number in range(14))),
    "libvpx-vp9": ("cpu-used", tuple(str(number) for number in range(9))),
}


@dataclass(frozen=True)
class EncoderSettings:
    """How the picture is encoded, and what becomes of the sound.

    Attributes:
        codec: FFmpeg's name of a video encoder; None for the usual one of the container.
        quality: "draft" is fast, "delivery" looks like the source at about its size, "master" is
            for further work: it keeps noise.
        crf: constant quality where the codec has it, smaller is better; None for the quality's.
        preset: speed for size where the codec has it; None for the quality's.
        pixel_format: None for the source's, or the nearest that the codec can take.
        gop: most frames from one key frame to the next; None for the codec's default.
        options: further options of the codec by FFmpeg's names.
        sound: "auto" copies every stream bit for bit that the container can hold, and converts
            others; "copy" converts none; "aac", "opus" and "flac" convert; "none" is silent.
    """

    codec: str | None = None
    quality: Quality = "delivery"
    crf: float | None = None
    preset: str | None = None
    pixel_format: str | None = None
    gop: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    sound: SoundChoice = "auto"
