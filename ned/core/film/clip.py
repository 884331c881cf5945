"""Clip: a video (or a still image with a duration) on disk, and the frames that it holds.

Frames come as planar YUV exactly as decoded, upright, one at a time: whoever edits a face
replaces samples inside the face and leaves every other sample of the source untouched.
"""

from __future__ import annotations

import dataclasses
import heapq
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from ned.core.errors import InputError, quoted, reason
from ned.core.film.hdr import Hdr
from ned.core.film.image_files import is_picture, read_image
from ned.core.film.limits import LARGEST_PICTURE, require_size
from ned.core.film.packets import Told, exact, is_cover, mute, open_source, packets_of
from ned.core.film.planes import (
    FULL_RANGE,
    LIMITED_RANGE,
    MATRIX_OF_SPACE,
    Colour,
    Orientation,
    Plane,
    Planes,
    alpha_of,
    colour_of,
    convert,
    depth_of,
    has_alpha,
    picture_from_planes,
    planar_format,
    planar_picture,
    planes_of,
    subsampling_of,
    usual_matrix,
)

__all__ = ["AudioStream", "Clip", "Colour", "Frame", "Orientation", "Planes"]

log = logging.getLogger(__name__)

_STANDARD_RATES = [Fraction(n) for n in (24, 25, 30, 48, 50, 60, 100, 120)]
_STANDARD_RATES += [Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120)]
_UNDATED = {"h264", "hevc", "m4v", "mpegvideo", "mjpeg", "vc1", "obu", "av1"}  # raw streams


@dataclass(frozen=True)
class AudioStream:
    """What one audio stream holds; its packets are only ever copied."""

    index: int
    codec: str
    sample_rate: int
    channels: int
    layout: str
    language: str | None


@dataclass(frozen=True, eq=False)
class Frame:
    """One upright picture of a clip.

    Attributes:
        clip: the clip it comes from, which says what the samples mean.
        index: ordinal among the clip's decoded frames, from 0.
        pts: presentation time in units of `clip.time_base`, as in the source.
        time: seconds since the clip's first video frame.
        duration: in units of `clip.time_base`; None where the source does not say.
        planes: Y (H, W), U and V (h, w), uint8, or uint16 in [0, 1023] for 10 bits. Read-only:
            they may be the decoder's own memory. Edit copies and hand them to `with_planes`.
        alpha: (H, W) opacity in the planes' type, 0 to 255 or 1023; None where the clip has none.
    """

    clip: Clip = field(repr=False)
    index: int
    pts: int
    time: float
    duration: int | None
    planes: Planes = field(repr=False)
    picture: av.VideoFrame | None = field(default=None, repr=False)
    alpha: Plane | None = field(default=None, repr=False)

    def with_planes(self, planes: Planes) -> Frame:
        """The same frame with other samples.

        Args:
            planes: Y, U and V with the shapes and types of `planes`; a plane that was not
                edited may be passed on as it is.

        Raises:
            ValueError: A shape or a type differs.
        """
        for old, new in zip(self.planes, planes, strict=True):
            if old.shape != new.shape or old.dtype != new.dtype:
                raise ValueError(
                    f"a plane is {new.shape} {new.dtype} where {old.shape} {old.dtype} is needed"
                )
        same = all(old is new for old, new in zip(self.planes, planes, strict=True))
        return dataclasses.replace(self, planes=planes, picture=self.picture if same else None)

    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB of the current planes, in the clip's own primaries and transfer."""
        picture = self.picture or picture_from_planes(self.planes, self.clip.pixel_format)
        return convert(
            picture,
            "rgb24",
            self.clip.matrix,
            FULL_RANGE if self.clip.full_range else LIMITED_RANGE,
            FULL_RANGE,
        ).to_ndarray()  # type: ignore[return-value]


@dataclass(frozen=True)
class Clip:
    """A video, or a still image that lasts for a while, on disk.

    Attributes:
        path: the file.
        size: (width, height) in pixels of the upright picture.
        coded_size: (width, height) in pixels as stored.
        orientation: how stored pictures are turned upright.
        sample_aspect_ratio: width : height of one upright pixel; None where not specified.
        frame_rate: frames per second, exact (30000/1001); the average of a variable rate.
        variable_rate: True where the container's own numbers say so.
        time_base: seconds per unit of every presentation time.
        first_pts: presentation time of the first video frame in units of `time_base`.
        frame_count: best estimate without decoding; None where nothing is known.
        duration: seconds; None where nothing is known.
        pixel_format: planar YUV in which frames are delivered, such as "yuv420p10le".
        source_format: pixel format as decoded; frames are converted where it differs.
        colour: colour tags.
        codec: name of the video codec.
        stream_index: the video stream inside of the container; -1 for an image.
        audio: what the audio streams hold.
        interlaced: True where the first frame says so.
        is_image: True for a still image.
        alpha: True where pixels say how opaque they are; frames have it as a plane of their own.
        hdr: what HDR10 says of the display that the film was graded on.
        ordered: False where the container keeps no times of presentation (AVI, raw streams):
            frames get those of decoding, in their order, or follow each other at `frame_rate`.
        largest: megapixels that a picture may have.
        told: the warnings about it that were said.
    """

    path: Path
    size: tuple[int, int]
    coded_size: tuple[int, int]
    orientation: Orientation
    sample_aspect_ratio: Fraction | None
    frame_rate: Fraction
    variable_rate: bool
    time_base: Fraction
    first_pts: int
    frame_count: int | None
    duration: float | None
    pixel_format: str
    source_format: str
    colour: Colour
    codec: str
    stream_index: int
    audio: tuple[AudioStream, ...] = ()
    interlaced: bool = False
    is_image: bool = False
    alpha: bool = False
    hdr: Hdr | None = None
    ordered: bool = True
    largest: float = LARGEST_PICTURE
    told: Told = field(default_factory=Told, compare=False, repr=False)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        duration: float | None = None,
        frame_rate: Fraction = Fraction(25),
        largest: float = LARGEST_PICTURE,
    ) -> Clip:
        """Read what a file holds, up to its first decodable picture.

        Args:
            path: a video, or an image.
            duration: seconds for which an image is shown; for images only.
            frame_rate: frames per second of an image's clip; ignored for videos.
            largest: megapixels that a picture may have; larger ones are refused undecoded.

        Raises:
            InputError: There is no picture to be had from the file, or the duration does not fit.
        """
        path = Path(path)
        if is_picture(path):
            return _open_image(path, duration, frame_rate, largest)
        if duration is not None:
            raise InputError(f"{quoted(path)} is a video; leave --duration to still images")
        return _open_video(path, largest)

    @property
    def rotation(self) -> int:
        """Clockwise degrees (0, 90, 180, 270) by which stored pictures were turned upright."""
        return self.orientation.rotation

    @property
    def bit_depth(self) -> int:
        """Bits per sample of the delivered planes: 8 or 10."""
        return 10 if self.pixel_format.endswith("10le") else 8

    @property
    def subsampling(self) -> tuple[int, int]:
        """(horizontal, vertical) luma samples per chroma sample: (2, 2), (2, 1) or (1, 1)."""
        return subsampling_of(self.pixel_format)

    @property
    def matrix(self) -> str:
        """ "bt709", "bt601" or "bt2020": the YUV matrix, by picture size where not tagged."""
        return MATRIX_OF_SPACE.get(self.colour.space) or usual_matrix(self.coded_size)

    @property
    def full_range(self) -> bool:
        """True where 8-bit luma runs from 0 to 255 instead of 16 to 235."""
        return self.colour.range == FULL_RANGE

    @property
    def black(self) -> int:
        """Code of black luma."""
        return 0 if self.full_range else 16 << (self.bit_depth - 8)

    @property
    def middle(self) -> int:
        """Code of neutral chroma."""
        return 1 << (self.bit_depth - 1)

    def frame_times(self) -> NDArray[np.float64]:
        """(T,) seconds of every frame after the first, in order, without decoding."""
        if self.is_image:
            return np.arange(self.frame_count or 0) * float(self.time_base)
        with open_source(self.path, self.largest) as container:
            stream: Any = container.streams[self.stream_index]
            packets = [p for p in packets_of(container, stream, self.path, self.told) if p.size]
        dated = [p.pts if self.ordered and p.pts is not None else p.dts for p in packets]
        moments = sorted(moment for moment in dated if moment is not None)
        if not moments:
            return np.arange(len(packets)) / float(self.frame_rate)
        return (np.array(moments) - moments[0]) * float(self.time_base)

    def frames(self) -> Iterator[Frame]:
        """Decode from the beginning, one frame at a time; every call starts anew.

        Times are the source's own, one to one, so that copied audio stays in sync. Damaged
        pictures in the middle are skipped or concealed as FFmpeg can, and the log says how many.

        Raises:
            InputError: The file has gone or cannot be read any more, or pictures change their
                size midway.
        """
        return _image_frames(self) if self.is_image else _video_frames(self)

    def frame_at(self, index: int) -> Frame:
        """One frame, the same as the one of that number among `frames`.

        Decoding begins at the key frame before it where the film tells exact times, else at the
        beginning.

        Raises:
            InputError: There is no such frame, or the file cannot be read any more.
        """
        if index < 0:
            raise InputError(f"frame {index} was asked for; frames are counted from 0")
        found = None if self.is_image or not self.ordered else _sought(self, index)
        if found is not None:
            return found
        count = 0
        for frame in self.frames():
            if frame.index == index:
                return frame
            count += 1
        raise InputError(f"frame {index} was asked for, {quoted(self.path)} has {count}")


class _Decoder:
    """Pictures of one video stream in order of presentation; counts what was damaged.

    Attributes:
        damaged: pictures that could not be decoded as they were.
        lost: packets before which others were lost on the way (transport streams).
        queue: times of decoding that no picture has been given yet, smallest first.
    """

    def __init__(
        self, container: av.container.InputContainer, index: int, path: Path, told: Told
    ) -> None:
        self.container = container
        self.path = path
        self.told = told
        self.damaged = self.lost = 0
        self.queue: list[int] = []
        self.stream: Any = container.streams[index]
        for stream in container.streams:
            if stream.index != index:
                mute(stream)

    def __iter__(self) -> Iterator[av.VideoFrame]:
        for packet in packets_of(self.container, self.stream, self.path, self.told):
            self.lost += bool(packet.is_corrupt)
            if packet.size and packet.dts is not None:
                heapq.heappush(self.queue, packet.dts)
            try:
                pictures = self.stream.decode(packet)
            except FFmpegError as error:
                self.damaged += 1
                if packet.dts in self.queue:
                    self.queue.remove(packet.dts)
                    heapq.heapify(self.queue)
                log.debug("%s: packet at %s: %s", quoted(self.path), packet.pts, reason(error))
                continue
            for picture in pictures:
                self.damaged += bool(picture.is_corrupt)
                yield picture


def _open_video(path: Path, largest: float) -> Clip:
    told = Told()
    with open_source(path, largest) as container:
        streams: list[Any] = [s for s in container.streams.video if not is_cover(s)]
        if not streams:
            kind = "only audio" if container.streams.audio else "no video"
            raise InputError(f"{quoted(path)} holds {kind}; give a file with pictures")
        best: Any = container.streams.best("video")
        stream = best if best is not None and not is_cover(best) else streams[0]
        if stream.codec_context is None:
            raise InputError(f"{quoted(path)}: there is no decoder for its video; transcode it")
        decoder = _Decoder(container, stream.index, path, told)
        picture = next(iter(decoder), None)
        if picture is None:
            raise InputError(
                f"{quoted(path)}: no picture can be decoded; the file is damaged, or its pictures "
                f"have more than {largest:g} megapixels"
            )
        require_size(path, picture.width, picture.height, largest)

        side_data: Any = picture.side_data
        matrix = side_data.get("DISPLAYMATRIX")
        orientation = Orientation.from_display_matrix(bytes(matrix)) if matrix else Orientation()
        coded_size = width, height = picture.width, picture.height
        name = picture.format.name
        aspect = exact(stream.sample_aspect_ratio)
        rate, variable = _rate_of(stream)
        undated = container.format.name in _UNDATED and picture.pts is None
        if undated:
            variable = False
            told.warn(
                path,
                f"it tells no times, {float(rate):.6g} frames/s are assumed; "
                "put it into .mkv to tell others",
            )
        time_base = Fraction(stream.time_base)
        seconds = _duration_of(stream, container)
        count = stream.frames or (round(seconds * rate) if seconds else None)
        if not count:
            count = _count_packets(path, stream.index, largest)
        ordered = not undated and container.format.name != "avi"
        start = picture.pts if picture.pts is not None else picture.dts
        if not ordered:
            start = min(decoder.queue, default=0)
        clip = Clip(
            path=path,
            size=(height, width) if orientation.transposed else coded_size,
            coded_size=coded_size,
            orientation=orientation,
            sample_aspect_ratio=1 / aspect if aspect and orientation.transposed else aspect,
            frame_rate=rate,
            variable_rate=variable,
            time_base=time_base,
            first_pts=start or 0,
            frame_count=count or None,
            duration=seconds or (float(count / rate) if count else None),
            pixel_format=planar_format(name, orientation.transposed),
            source_format=name,
            colour=colour_of(picture),
            codec=stream.codec_context.codec.canonical_name,
            stream_index=stream.index,
            audio=tuple(_describe(s) for s in container.streams.audio),
            interlaced=picture.interlaced_frame,
            alpha=_is_transparent(picture),
            hdr=Hdr.of(side_data),
            ordered=ordered,
            largest=largest,
            told=told,
        )
        _tell_what_is_lost(clip, stream)
        return clip


def _tell_what_is_lost(clip: Clip, stream: Any) -> None:
    """Warn of what frames do not hold of the source."""
    depth = depth_of(clip.source_format)
    if depth > 10:
        clip.told.warn(clip.path, f"its {depth} bits per sample become 10")
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    if tags.get("alpha_mode") == "1" and not clip.alpha:
        clip.told.warn(clip.path, f"the transparency of its {clip.codec} cannot be read")


def _is_transparent(picture: av.VideoFrame) -> bool:
    """True if pictures of this kind say how opaque they are; RGB's must not all be opaque."""
    name = picture.format.name
    if not has_alpha(name):
        return False
    return name.startswith("yuva") or bool(np.any(alpha_of(picture, 8) < 255))


def _count_packets(path: Path, index: int, largest: float) -> int | None:
    """Packets of a stream, one for each picture, where the file does not say how many."""
    with open_source(path, largest) as container:
        stream = container.streams[index]
        return sum(1 for packet in packets_of(container, stream, path, Told()) if packet.size)


def _video_frames(clip: Clip) -> Iterator[Frame]:
    step = max(1, round(1 / (clip.frame_rate * clip.time_base)))
    previous, index, repaired = None, 0, 0
    with open_source(clip.path, clip.largest) as container:
        decoder = _Decoder(container, clip.stream_index, clip.path, clip.told)
        decoder.stream.codec_context.thread_type = "AUTO"
        for decoded in decoder:
            pts = decoded.pts if decoded.pts is not None else decoded.dts
            earliest = heapq.heappop(decoder.queue) if decoder.queue else None
            if not clip.ordered:
                pts = earliest
            if pts is None:
                pts = clip.first_pts if previous is None else previous + step
            if previous is not None and pts <= previous:
                pts, repaired = previous + 1, repaired + 1
            yield _frame(clip, decoded, index, pts)
            previous, index = pts, index + 1
    told = clip.told
    if decoder.lost:
        told.warn(clip.path, f"it is damaged, data are missing in {decoder.lost} places")
    if decoder.damaged:
        told.warn(clip.path, f"{decoder.damaged} damaged pictures")
    if repaired:
        told.warn(clip.path, f"{repaired} times ran backwards; moved on by one")
    if clip.frame_count and clip.duration and previous is not None:
        missing = clip.duration - float((previous - clip.first_pts) * clip.time_base)
        if index < 0.98 * clip.frame_count - 2 and missing > 0.5:
            told.warn(
                clip.path,
                f"{index} of {clip.frame_count} frames could be decoded; the file is incomplete",
            )


def _frame(clip: Clip, decoded: av.VideoFrame, index: int, pts: int) -> Frame:
    """A decoded picture, upright, as frame `index` shown at `pts`."""
    if (decoded.width, decoded.height) != clip.coded_size:
        raise InputError(_changed_size(clip, decoded, index, pts))
    alpha = None
    if clip.alpha:
        alpha = clip.orientation.apply(alpha_of(decoded, clip.bit_depth))
    picture: av.VideoFrame | None = planar_picture(
        decoded, clip.pixel_format, clip.matrix, clip.full_range, clip.coded_size
    )
    planes = planes_of(picture)
    if not clip.orientation.upside_up:
        planes, picture = clip.orientation.apply_to_all(planes), None
    time = float((pts - clip.first_pts) * clip.time_base)
    return Frame(clip, index, pts, time, decoded.duration or None, planes, picture, alpha)


def _sought(clip: Clip, index: int) -> Frame | None:
    """Frame `index`, decoded from the key frame before it; None where times are not exact."""
    with open_source(clip.path, clip.largest) as container:
        stream: Any = container.streams[clip.stream_index]
        packets = [p for p in packets_of(container, stream, clip.path, clip.told) if p.size]
        times = [packet.pts for packet in packets]
        if any(packet.is_corrupt for packet in packets) or len(set(times)) < len(times):
            return None
        moments = sorted(time for time in times if time is not None)
        if len(moments) < len(times) or index >= len(moments) or moments[0] != clip.first_pts:
            return None
    wanted = moments[index]
    with open_source(clip.path, clip.largest) as container:
        decoder = _Decoder(container, clip.stream_index, clip.path, clip.told)
        try:
            container.seek(wanted, stream=decoder.stream)
        except FFmpegError:
            return None
        for decoded in decoder:
            if decoded.pts is None or decoded.pts > wanted:
                return None
            if decoded.pts == wanted:
                return _frame(clip, decoded, index, wanted)
    return None


def _changed_size(clip: Clip, picture: av.VideoFrame, index: int, pts: int) -> str:
    (width, height), when = clip.coded_size, float((pts - clip.first_pts) * clip.time_base)
    return (
        f"{quoted(clip.path)}: frame {index} (at {when:.2f} s) is {picture.width}x"
        f"{picture.height}, those before it {width}x{height}; cut the film there, or scale it "
        "to one size"
    )


def _describe(stream: Any) -> AudioStream:
    context = stream.codec_context
    return AudioStream(
        index=stream.index,
        codec=context.name if context is not None else "unknown",
        sample_rate=context.sample_rate if context is not None else 0,
        channels=context.layout.nb_channels if context is not None else 0,
        layout=context.layout.name if context is not None else "unknown",
        language=stream.language,
    )


def _rate_of(stream: Any) -> tuple[Fraction, bool]:
    """Average frames per second, and whether the distance between frames varies."""
    base = exact(stream.base_rate)
    average = exact(stream.average_rate) or exact(stream.guessed_rate) or base or Fraction(25)
    base = base or average
    variable = abs(base / average - 1) > Fraction(1, 100)
    nearest = min(_STANDARD_RATES, key=lambda rate: abs(rate - average))
    # A rate measured over a short clip with rounded times is a standard rate all the same.
    tolerance = Fraction(1, 5000) if variable else Fraction(1, 2500)
    return (nearest if abs(nearest / average - 1) < tolerance else average), variable


def _duration_of(stream: Any, container: av.container.InputContainer) -> float | None:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / 1_000_000 if container.duration else None


def _open_image(path: Path, duration: float | None, frame_rate: Fraction, largest: float) -> Clip:
    if duration is None:
        raise InputError(
            f"{quoted(path)} is a still image; give a film (`ned direct` takes --duration)"
        )
    if not (math.isfinite(duration) and duration > 0) or frame_rate <= 0:
        raise InputError(
            f"a still image cannot last {duration} s at {frame_rate} frames/s; both must be > 0"
        )
    height, width = read_image(path, largest).shape[:2]
    rate = Fraction(frame_rate)
    count = max(1, round(duration * rate))
    return Clip(
        path=path,
        size=(width, height),
        coded_size=(width, height),
        orientation=Orientation(),
        sample_aspect_ratio=Fraction(1),
        frame_rate=rate,
        variable_rate=False,
        time_base=1 / rate,
        first_pts=0,
        frame_count=count,
        duration=float(count / rate),
        pixel_format="yuv444p" if width % 2 or height % 2 else "yuv420p",
        source_format="rgb24",
        colour=Colour(LIMITED_RANGE, 1, 1, 1),
        codec="image",
        stream_index=-1,
        is_image=True,
        largest=largest,
    )


def _image_frames(clip: Clip) -> Iterator[Frame]:
    pixels = av.VideoFrame.from_ndarray(read_image(clip.path, clip.largest), "rgb24")
    if (pixels.width, pixels.height) != clip.size:
        raise InputError(f"{quoted(clip.path)} changed while it was in use; start again")
    picture = convert(pixels, clip.pixel_format, clip.matrix, FULL_RANGE, LIMITED_RANGE)
    planes = planes_of(picture)
    for index in range(clip.frame_count or 0):
        yield Frame(clip, index, index, float(index * clip.time_base), 1, planes, picture)
