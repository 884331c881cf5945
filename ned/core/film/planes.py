"""Pictures as planar YUV samples: their colour tags, orientation and pixel formats."""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass
from typing import Any

import av
import av.video.reformatter
import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8] | NDArray[np.uint16]
Planes = tuple[Plane, Plane, Plane]

# ITU-T H.273 code points, as FFmpeg numbers them.
LIMITED_RANGE, FULL_RANGE = 1, 2
UNSPECIFIED = 2  # of space, primaries and transfer; the range says 0
_SPACE_NAMES = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc"}
MATRIX_OF_SPACE = {1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 7: "bt709", 9: "bt2020"}
_SCALER_MATRIX = {"bt709": 1, "bt601": 5, "bt2020": 9}
_SPACE_OF_MATRIX = {"bt709": 1, "bt601": 6, "bt2020": 9}

_LUMA_OF_MATRIX = {"bt709": (0.2126, 0.0722), "bt601": (0.299, 0.114), "bt2020": (0.2627, 0.0593)}

_scalers = threading.local()


@dataclass(frozen=True)
class Colour:
    """Colour tags of a video as code points of ITU-T H.273.

    Attributes:
        range: 0 unspecified, 1 limited ("tv"), 2 full ("pc").
        space: matrix coefficients; 1 bt709, 5 and 6 bt601, 9 bt2020, 2 unspecified.
        primaries: 1 bt709, 9 bt2020, 12 Display P3, 2 unspecified, ...
        transfer: 1 bt709, 13 sRGB, 16 PQ, 18 HLG, 2 unspecified, ...
    """

    range: int = 0
    space: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED

    def __str__(self) -> str:
        name = _SPACE_NAMES.get(self.space, "unspecified")
        return f"{name}, {('unspecified', 'limited', 'full')[self.range]} range"


@dataclass(frozen=True)
class Orientation:
    """How stored pictures become upright: transpose first, then mirror the axes."""

    transposed: bool = False
    mirrored_x: bool = False
    mirrored_y: bool = False

    @classmethod
    def from_display_matrix(cls, data: bytes) -> Orientation:
        """Orientation nearest to a 3x3 int32 display matrix (row vectors, 16.16 fixed point)."""
        a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
        if max(abs(b), abs(c)) > max(abs(a), abs(d)):
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)

    @property
    def rotation(self) -> int:
        """Clockwise degrees that turn the stored picture upright (mirroring comes on top)."""
        if self.transposed:
            return 90 if self.mirrored_x else 270
        return 180 if self.mirrored_y else 0

    @property
    def upside_up(self) -> bool:
        """True where nothing has to be done."""
        return self == Orientation()

    def apply(self, plane: Plane) -> Plane:
        """Upright contiguous copy of one (h, w) plane; no sample changes its value."""
        if self.transposed:
            plane = cv2.transpose(plane)  # type: ignore[assignment]
        if self.mirrored_x or self.mirrored_y:
            axis = -1 if self.mirrored_x and self.mirrored_y else int(self.mirrored_x)
            plane = cv2.flip(plane, axis)  # type: ignore[assignment]
        return plane

    def apply_to_all(self, planes: Planes) -> Planes:
        """Upright copies of Y, U and V."""
        return self.apply(planes[0]), self.apply(planes[1]), self.apply(planes[2])


def subsampling_of(pixel_format: str) -> tuple[int, int]:
    """(horizontal, vertical) luma samples per chroma sample of a YUV pixel format."""
    description = av.VideoFormat(pixel_format, 16, 16)
    return 16 // description.chroma_width(16), 16 // description.chroma_height(16)


def planar_format(source_format: str, transposed: bool = False) -> str:
    """The planar YUV format of 8 or 10 bits that holds a decoder's format with the least loss.

    Args:
        source_format: any pixel format of FFmpeg.
        transposed: 4:2:2 turned by 90 degrees would become 4:4:0, which few encoders know;
            4:4:4 takes its place.
    """
    description = av.VideoFormat(source_format, 16, 16)
    channels = [part for part in description.components if not part.is_alpha]
    depth = max(part.bits for part in channels)
    chroma = {(8, 8): "420", (4, 4): "420", (8, 16): "422", (4, 16): "422"}.get(
        (description.chroma_width(16), description.chroma_height(16)), "444"
    )
    if description.is_rgb or description.has_palette or source_format.startswith(("bayer", "xyz")):
        chroma = "444"
    elif len(channels) == 1:
        chroma = "420"
    if transposed and chroma == "422":
        chroma = "444"
    return f"yuv{chroma}p10le" if depth > 8 else f"yuv{chroma}p"


def has_alpha(source_format: str) -> bool:
    """True if a pixel format of FFmpeg can say how opaque each pixel is."""
    description = av.VideoFormat(source_format, 16, 16)
    return description.has_palette or any(part.is_alpha for part in description.components)


def depth_of(source_format: str) -> int:
    """Bits per sample of a pixel format of FFmpeg."""
    return max(part.bits for part in av.VideoFormat(source_format, 16, 16).components)


def alpha_of(picture: av.VideoFrame, bit_depth: int) -> Plane:
    """(H, W) opacity of a decoded picture whose format has it, in `bit_depth` (8 or 10) bits."""
    name = picture.format.name
    if name.startswith("yuva"):
        bits = depth_of(name)
        plane = _rows(picture.planes[3], np.uint16 if bits > 8 else np.uint8)
    else:
        bits = 16 if depth_of(name) > 8 else 8
        plane = picture.reformat(format="rgba64le" if bits > 8 else "rgba").to_ndarray()[..., 3]
    return rescaled(plane, bits, bit_depth)


def rescaled(plane: NDArray[Any], bits: int, wanted: int) -> Plane:
    """Samples of so many bits in another number of them; the largest stays the largest."""
    dtype: Any = np.uint16 if wanted > 8 else np.uint8
    if bits == wanted:
        return plane.astype(dtype)
    top, new_top = (1 << bits) - 1, (1 << wanted) - 1
    return ((plane.astype(np.uint32) * new_top + top // 2) // top).astype(dtype)


def with_alpha(picture: av.VideoFrame, alpha: Plane, pixel_format: str) -> av.VideoFrame:
    """A planar picture with a plane of opacity (H, W) added; `pixel_format` begins with yuva."""
    result = av.VideoFrame(picture.width, picture.height, pixel_format)
    *colours, opacity = result.planes
    for target, source in zip(colours, planes_of(picture), strict=True):
        _rows(target, source.dtype)[:] = source
    _rows(opacity, alpha.dtype)[:] = alpha
    return result


def planes_of(picture: av.VideoFrame) -> Planes:
    """Read-only views of a planar YUV picture's samples, without its row padding."""
    dtype = np.uint16 if picture.format.name.endswith("10le") else np.uint8
    first, second, third = (_rows(plane, dtype) for plane in picture.planes)
    for rows in (first, second, third):
        rows.flags.writeable = False
    return first, second, third


def picture_from_planes(planes: Planes, pixel_format: str) -> av.VideoFrame:
    """A new picture of `pixel_format` filled with Y (H, W), U and V (h, w); one copy."""
    height, width = planes[0].shape
    picture = av.VideoFrame(width, height, pixel_format)
    for plane, samples in zip(picture.planes, planes, strict=True):
        _rows(plane, samples.dtype)[:] = samples
    return picture


def convert(
    picture: av.VideoFrame,
    pixel_format: str,
    matrix: str,
    source_range: int,
    target_range: int,
    size: tuple[int, int] | None = None,
) -> av.VideoFrame:
    """Convert a picture's pixel format (and size) with one given YUV matrix."""
    if not hasattr(_scalers, "scaler"):
        _scalers.scaler = av.video.reformatter.VideoReformatter()
    width, height = size or (picture.width, picture.height)
    return _scalers.scaler.reformat(
        picture,
        width,
        height,
        pixel_format,
        src_colorspace=_SCALER_MATRIX[matrix],
        dst_colorspace=_SCALER_MATRIX[matrix],
        src_color_range=source_range,
        dst_color_range=target_range,
        threads=1,
    )


def _rows(plane: Any, dtype: Any) -> Any:
    """Writable (h, w) view of a decoder's plane, without the padding of its rows."""
    line = abs(plane.line_size) // np.dtype(dtype).itemsize
    rows = np.frombuffer(plane, dtype).reshape(plane.height, line)[:, : plane.width]
    return rows if plane.line_size > 0 else rows[::-1]


def picture_from_gray(picture: av.VideoFrame, pixel_format: str) -> av.VideoFrame:
    """A 4:2:0 picture with a gray or gray10le picture's samples as luma, and no colour."""
    dtype, neutral = (np.uint16, 512) if pixel_format.endswith("10le") else (np.uint8, 128)
    luma = _rows(picture.planes[0], dtype)
    height, width = luma.shape
    chroma: Any = np.full(((height + 1) // 2, (width + 1) // 2), neutral, dtype)
    return picture_from_planes((luma, chroma, chroma), pixel_format)


def planar_picture(
    picture: av.VideoFrame,
    pixel_format: str,
    matrix: str,
    full_range: bool,
    size: tuple[int, int],
) -> av.VideoFrame:
    """A decoded picture in a planar format and (width, height); itself where it is that already.

    Args:
        picture: as it comes from the decoder.
        pixel_format: one that `planar_format` chose.
        matrix: "bt709", "bt601" or "bt2020".
        full_range: whether luma shall run from 0 to 255 (or 1023).
        size: (width, height) in pixels, for streams that change it midway.
    """
    name = picture.format.name
    fits = (picture.width, picture.height) == size
    if fits and name.replace("yuvj", "yuv") == pixel_format:
        return picture
    if fits and name in ("gray", "gray10le"):
        return picture_from_gray(picture, pixel_format)
    target_range = FULL_RANGE if full_range else LIMITED_RANGE
    source_range = picture.color_range or target_range
    if av.VideoFormat(name).is_rgb or av.VideoFormat(name).has_palette:
        source_range = FULL_RANGE
    return convert(picture, pixel_format, matrix, source_range, target_range, size)


def colour_of(picture: av.VideoFrame) -> Colour:
    """A decoded picture's colour tags once it is YUV; RGB gets the usual matrix of its size."""
    name = picture.format.name
    colour = Colour(
        picture.color_range, picture.colorspace, picture.color_primaries, picture.color_trc
    )
    if name.startswith("yuvj"):
        return dataclasses.replace(colour, range=FULL_RANGE)
    description = av.VideoFormat(name)
    if description.is_rgb or description.has_palette or colour.space == 0:
        space = _SPACE_OF_MATRIX[usual_matrix((picture.width, picture.height))]
        return dataclasses.replace(colour, range=LIMITED_RANGE, space=space)
    return colour


def usual_matrix(size: tuple[int, int]) -> str:
    """The matrix that players assume for untagged video of a (width, height)."""
    return "bt709" if size[0] >= 1280 or size[1] > 576 else "bt601"


def samples_of_rgb(
    rgb: NDArray[np.number], matrix: str, full_range: bool, bit_depth: int
) -> NDArray[np.float32]:
    """Y, U and V codes (..., 3) of RGB (..., 3), not rounded; ITU-T H.273, equations 38 to 46.

    Args:
        matrix: "bt709", "bt601" or "bt2020". full_range: of the codes. bit_depth: likewise.
    """
    red, blue = _LUMA_OF_MATRIX[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    of_rgb = np.stack(
        [
            luma,
            (np.array([0, 0, 1]) - luma) / (2 * (1 - blue)),
            (np.array([1, 0, 0]) - luma) / (2 * (1 - red)),
        ]
    )
    step = 1 << (bit_depth - 8)
    top = (256 * step) - 1
    scale = np.array([top] * 3 if full_range else [219 * step, 224 * step, 224 * step])
    zero = np.array([0 if full_range else 16 * step, 128 * step, 128 * step])
    matrix_of_bytes = (of_rgb * scale[:, None] / 255).astype(np.float32)
    return rgb.astype(np.float32) @ matrix_of_bytes.T + zero.astype(np.float32)
