"""Picture encoder: FFmpeg's encoder of a result's pictures, chosen, set up and opened."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

from ned.core.errors import InputError, OutputError, reason
from ned.core.film.clip import Clip
from ned.core.film.encoder import (
    ALPHA_CODECS,
    ALPHA_FORMATS,
    FULL_COLOUR_PROFILES,
    PRESETS,
    QUALITIES,
    TEN_BIT_PROFILES,
    USUAL_ALPHA_CODEC,
    USUAL_CODEC,
    EncoderSettings,
)
from ned.core.film.planes import subsampling_of

_EVEN_SIZE_CODECS = {"libx264", "libx265", "libsvtav1"}
FIXED_RATE_CODECS = {"mpeg4", "mpeg2video"}  # their clocks cannot count in 1/90000 s
_LAMBDA = 118  # FFmpeg's units of a quantiser
_HDR_CODECS = {"libx264", "libx265", "libsvtav1"}
_WITHOUT_CRF = "has no crf; leave --crf out, --quality chooses"


def find_encoder(name: str) -> Any:
    """FFmpeg's video encoder of that name; raises InputError if there is none."""
    try:
        codec = av.Codec(name, "w")
    except ValueError as error:
        raise InputError(
            f"no video encoder {name!r} here; libx264, libx265, libvpx-vp9, libsvtav1, ffv1 and "
            "prores_ks are the usual ones"
        ) from error
    if codec.type != "video":
        raise InputError(f"{name!r} encodes {codec.type}, not video; libx264 is the usual one")
    return codec


def chosen_codec(settings: EncoderSettings, clip: Clip, format_name: str) -> str:
    """The encoder asked for, or the usual one of the container and of what the pictures hold."""
    if settings.codec is not None:
        return find_encoder(settings.codec).name  # "h264" means libx264
    usual = USUAL_CODEC.get(format_name, "libx264")
    return USUAL_ALPHA_CODEC.get(format_name, usual) if clip.alpha else usual


def encoder_format(
    codec: Any, clip: Clip, wanted: str | None, format_name: str
) -> tuple[str, str | None]:
    """The pixel format to encode in: the one asked for, or the nearest to the clip's.

    Returns:
        It, and why the clip's alpha is left out, if it has one and it is.

    Raises:
        InputError: The codec does not know the format asked for.
    """
    known = [description.name for description in codec.video_formats or []]
    with_alpha = ALPHA_FORMATS.get(codec.name)
    if with_alpha is not None:
        known = [name for name in known if not name.startswith("yuva") or name in with_alpha]
    alpha = clip.alpha and format_name in ALPHA_CODECS.get(codec.name, ())
    if wanted is not None:
        if wanted not in known:
            raise InputError(f"{codec.name} has no pixel format {wanted!r}; {', '.join(known)}")
        if clip.alpha and not (alpha and wanted.startswith("yuva")):
            return wanted, f"{wanted} in this file has none"
        return wanted, None
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

    kind = "yuva" if alpha else "yuv"
    planar = [
        f"{kind}{chroma}p{depth}" for chroma in ("420", "422", "444") for depth in ("", "10le")
    ]
    usable = [name for name in planar if name in known] or [clip.pixel_format]
    left_out = None
    if clip.alpha and not alpha:
        left_out = f"{codec.name} in this container has none"
    return min(usable, key=loss), left_out


def add_encoder(
    target: Any,
    path: Path,
    clip: Clip,
    settings: EncoderSettings,
    format_name: str,
    time_base: Fraction,
) -> Any:
    """A stream of the target with an open encoder for the clip's pictures.

    Raises:
        InputError: The codec, its options or the pixel format do not exist.
        OutputError: The container cannot hold the codec.
    """
    name = chosen_codec(settings, clip, format_name)
    codec = find_encoder(name)
    pixel_format, left_out = encoder_format(codec, clip, settings.pixel_format, format_name)
    if left_out:
        clip.told.warn(
            path,
            f"transparency is left out, {left_out}; -o x.mov --codec prores_ks, "
            "-o x.mkv --codec ffv1 or -o x.webm keep it",
        )
    try:
        stream = target.add_stream(name, rate=clip.frame_rate)
    except ValueError as error:
        usual = USUAL_CODEC.get(format_name, "libx264")
        raise OutputError(
            f"{path.suffix} cannot hold pictures of {name}; choose -o with .mkv or .mov, or "
            f"--codec {usual}"
        ) from error
    context = stream.codec_context
    context.width, context.height = clip.size
    context.pix_fmt = pixel_format
    context.time_base = time_base
    if clip.sample_aspect_ratio:
        context.sample_aspect_ratio = clip.sample_aspect_ratio
    context.color_range = clip.colour.range
    context.colorspace = clip.colour.space
    context.color_primaries = clip.colour.primaries
    context.color_trc = clip.colour.transfer
    context.thread_type = "AUTO"
    if settings.gop is not None:
        context.gop_size = settings.gop
    if name == "libx265" and format_name in ("mp4", "mov"):
        context.codec_tag = "hvc1"  # the tag that Apple's players want
    options = codec_options(settings, name, clip, pixel_format)
    quantiser = options.pop("qscale", None)
    if quantiser is not None:
        context.qscale = True
        context.global_quality = round(float(quantiser) * _LAMBDA)
    if name == "libvpx-vp9":
        context.bit_rate = 0  # or its default rate would limit the quality
    if format_name == "avi":
        options.setdefault("bf", "0")  # AVI has no place for a presentation time
    if clip.hdr is not None and name not in _HDR_CODECS:
        clip.told.warn(
            path,
            f"{name} does not take mastering display and light level along; --codec libx265 does",
        )
    context.options = options
    _open(context, settings, name)
    if pixel_format.startswith("yuva") and name == "libvpx-vp9":
        stream.metadata["alpha_mode"] = "1"
    return stream


def codec_options(
    settings: EncoderSettings, name: str, clip: Clip, pixel_format: str
) -> dict[str, str]:
    """What the settings mean in FFmpeg's names of the codec's options.

    Raises:
        InputError: A setting means nothing to the codec.
    """
    options = dict(QUALITIES.get(name, {}).get(settings.quality, {}))
    if "profile" in options:
        if "444" in pixel_format:
            options["profile"] = FULL_COLOUR_PROFILES[name]
        elif pixel_format.endswith("10le"):
            options["profile"] = TEN_BIT_PROFILES.get(name, options["profile"])
    if settings.crf is not None:
        if QUALITIES.get(name) is not None and "crf" not in options:
            raise InputError(f"{name} {_WITHOUT_CRF}")
        options["crf"] = f"{settings.crf:g}"
    if settings.preset is not None:
        if name not in PRESETS:
            raise InputError(f"{name} has no preset; leave --preset out, --quality chooses")
        option, values = PRESETS[name]
        if settings.preset not in values:  # libx264 would print a line of its own
            raise InputError(f"{name} has no preset {settings.preset!r}; {', '.join(values)}")
        options[option] = settings.preset
    given = dict(settings.options)
    own = _parameters(name, clip)
    for key, parameters in own.items():
        theirs = given.pop(key, None)
        options[key] = ":".join(filter(None, (parameters, theirs)))
    return options | given


def _parameters(name: str, clip: Clip) -> dict[str, str]:
    """Options in the codec library's own notation, by the name of FFmpeg's option for them."""
    hdr = clip.hdr
    if name == "libx264":
        parts = ["deterministic=1"]  # FFmpeg lets threads change the result
        if hdr is not None and hdr.display is not None:
            parts.append(f"mastering-display={hdr.display_in_units()}")
        if hdr is not None and hdr.light is not None:
            parts.append(f"cll={hdr.light[0]},{hdr.light[1]}")
        return {"x264-params": ":".join(parts)}
    if name == "libx265":
        parts = ["log-level=error"]
        if hdr is not None and hdr.display is not None:
            parts.append(f"master-display={hdr.display_in_units()}")
        if hdr is not None and hdr.light is not None:
            parts.append(f"max-cll={hdr.light[0]},{hdr.light[1]}")
        return {"x265-params": ":".join(parts)}
    if name == "libsvtav1" and hdr is not None:
        parts = []
        if hdr.display is not None:
            parts.append(f"mastering-display={hdr.display_in_fractions()}")
        if hdr.light is not None:
            parts.append(f"content-light={hdr.light[0]},{hdr.light[1]}")
        return {"svtav1-params": ":".join(parts)}
    return {}


def _open(context: Any, settings: EncoderSettings, name: str) -> None:
    try:
        context.open()
    except (FFmpegError, ValueError) as error:
        crf, preset = (context.options.get(option, "none") for option in ("crf", "preset"))
        raise InputError(
            f"{name} refuses crf {crf}, preset {preset}, options {dict(settings.options)} at "
            f"{context.width}x{context.height} {context.pix_fmt} ({reason(error)}); change or "
            "drop them"
        ) from error
    unused = sorted(set(context.options) & set(settings.options))
    if unused:
        raise InputError(f"{name} has no option {unused[0]!r}; check its name")
    if "crf" in context.options:
        raise InputError(f"{name} {_WITHOUT_CRF}")
