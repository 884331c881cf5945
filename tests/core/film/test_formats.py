"""Formats: what containers and codecs can and cannot hold, and what is told of it."""

from __future__ import annotations

import logging
import os
import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import av
import numpy as np
import pytest
from made_up_films import make_video, names, packets, pattern, times

from ned.core.errors import InputError, OutputError
from ned.core.film.clip import Clip, Colour
from ned.core.film.encoder import QUALITIES, EncoderSettings, Quality
from ned.core.film.image_files import read_image
from ned.core.film.sound_track import NewSound
from ned.core.film.video import VideoWriter, copying_problem, remux

HDR = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"


def written(clip: Clip, path: Path, **settings: Any) -> Clip:
    """The clip, written frame by frame with these settings, opened again."""
    wanted = EncoderSettings(**settings)
    VideoWriter(path, clip, wanted).check()
    with VideoWriter(path, clip, wanted) as writer:
        for frame in clip.frames():
            writer.write(frame)
    return Clip.open(path)


def heard(path: Path) -> np.ndarray:
    """(N,) the first channel of the film's first sound, full scale 1."""
    with av.open(f"file:{path}") as container:
        frames = list(container.decode(container.streams.audio[0]))
    parts = []
    for frame in frames:
        samples = frame.to_ndarray()
        if not frame.format.is_planar:
            samples = samples.reshape(-1, frame.layout.nb_channels).T
        scale = 1 if samples.dtype.kind == "f" else np.iinfo(samples.dtype).max
        parts.append(samples[0] / scale)
    return np.concatenate(parts)


def moments(clip: Clip) -> list[float]:
    return [frame.time for frame in clip.frames()]


def make_avi(
    path: Path, codec: str = "mjpeg", layout: str = "stereo", voice: str = "pcm_s16le"
) -> Path:
    """A film with PCM sound in AVI, which does not keep the names of channels; or in another."""
    with av.open(str(path), "w") as target:
        video: Any = target.add_stream(codec, rate=25)
        video.width, video.height = 96, 64
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        sound: Any = target.add_stream(voice, rate=16000, layout=layout)
        sound.bit_rate = 64000
        for index in range(20):
            picture = av.VideoFrame.from_ndarray(pattern(index, 96, 64), "rgb24")
            picture.pts, picture.time_base = index, Fraction(1, 25)
            target.mux(video.encode(picture))
        target.mux(video.encode(None))
        count = 1 if layout == "mono" else 2
        tone = (8000 * np.sin(np.arange(12800) / 9)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.repeat(tone, count)[None], "s16", layout)
        frame.sample_rate, frame.pts, frame.time_base = 16000, 0, Fraction(1, 16000)
        target.mux(sound.encode(frame))
        target.mux(sound.encode(None))
    return path


# Sound


@pytest.mark.parametrize("layout", ["mono", "stereo"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
def test_sound_without_a_layout_is_mono_or_stereo(tmp_path: Path, suffix: str, layout: str) -> None:
    clip = Clip.open(make_avi(tmp_path / "a.avi", layout=layout))
    assert "channel" in clip.audio[0].layout
    result = written(clip, tmp_path / f"b{suffix}")
    assert packets(result.path, "audio")[0][0][1][:64] == packets(clip.path, "audio")[0][0][1][:64]
    assert np.array_equal(heard(result.path), heard(clip.path))
    if (suffix, layout) == (".mp4", "stereo"):
        assert result.audio[0].layout == layout


@pytest.mark.parametrize(
    ("sound", "suffix", "codec"),
    [
        ("auto", ".webm", "opus"),
        ("auto", ".mkv", "aac"),
        ("opus", ".mkv", "opus"),
        ("aac", ".mov", "aac"),
        ("flac", ".mkv", "flac"),
    ],
)
def test_sound_is_converted_where_it_must(
    tmp_path: Path, sound: Any, suffix: str, codec: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = make_video(tmp_path / "a.mp4", 25, audio=["aac"])
    if suffix == ".mkv" and sound == "auto":
        source = make_avi(tmp_path / "a.wmv", "wmv2", voice="wmav2")
    clip = Clip.open(source)
    with caplog.at_level(logging.WARNING):
        result = written(clip, tmp_path / f"b{suffix}", sound=sound)
    assert result.audio[0].codec == codec
    assert caplog.text.count("becomes") == (sound == "auto")
    sent, got = heard(clip.path), heard(result.path)
    assert len(got) / len(sent) == pytest.approx(1, abs=0.1)
    assert np.std(got) == pytest.approx(np.std(sent), rel=0.2)
    assert moments(result) == pytest.approx(moments(clip), abs=0.0011)


def test_sound_that_may_not_be_converted_is_refused_before_work(tmp_path: Path) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 3, audio=["aac"]))
    writer = VideoWriter(tmp_path / "b.webm", clip, EncoderSettings(sound="copy"))
    with pytest.raises(OutputError, match=r"stream 1.*--sound opus"):
        writer.check()
    assert names(tmp_path) == ["a.mp4"]


def test_check_leaves_nothing_and_finds_the_codec(tmp_path: Path) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 3))
    VideoWriter(tmp_path / "b.mp4", clip).check()
    with pytest.raises(OutputError, match="cannot hold pictures of prores_ks"):
        VideoWriter(tmp_path / "b.mp4", clip, EncoderSettings(codec="prores_ks")).check()
    assert names(tmp_path) == ["a.mp4"]


# Containers


@pytest.mark.parametrize("audio", [[], ["aac"]])
def test_avi_has_no_b_frames_and_is_not_late(tmp_path: Path, audio: list[str]) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 30, audio=audio))
    result = written(clip, tmp_path / "b.avi")
    assert moments(result) == pytest.approx([index / 25 for index in range(30)])
    with av.open(str(result.path)) as container:
        assert container.streams.video[0].codec_context.has_b_frames == 0
    assert "B-frames" in str(copying_problem(clip, tmp_path / "c.avi"))


def test_b_frames_in_avi_get_the_times_of_their_order(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = Clip.open(make_avi(tmp_path / "a.avi", "libx264"))
    with av.open(str(clip.path)) as container:
        assert container.streams.video[0].codec_context.has_b_frames
    with caplog.at_level(logging.WARNING):
        assert np.diff(moments(clip)) == pytest.approx(0.04)
    assert "backwards" not in caplog.text
    assert moments(written(clip, tmp_path / "b.mp4")) == pytest.approx(moments(clip))
    with pytest.raises(OutputError, match="tells no times"):
        remux(clip, tmp_path / "c.mp4")


def test_raw_video_gets_a_rate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = tmp_path / "a.h264"
    with av.open(str(source), "w", format="h264") as target:
        video: Any = target.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        for index in range(20):
            target.mux(video.encode(av.VideoFrame.from_ndarray(pattern(index, 96, 64), "rgb24")))
        target.mux(video.encode(None))
    with caplog.at_level(logging.WARNING):
        clip = Clip.open(source)
    assert "tells no times, 25 frames/s are assumed" in caplog.text
    assert (clip.frame_count, clip.variable_rate) == (20, False)
    assert np.diff(moments(clip)) == pytest.approx(0.04)
    assert moments(written(clip, tmp_path / "b.mp4")) == pytest.approx(moments(clip))


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".webm", "vp9"), (".mp4", "h264"), (".mkv", "h264"), (".avi", "h264")]
)
def test_containers_have_a_usual_codec(tmp_path: Path, suffix: str, codec: str) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 4))
    assert written(clip, tmp_path / f"b{suffix}").codec == codec


# Quality


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "libsvtav1", "prores_ks"])
def test_qualities_are_in_order(tmp_path: Path, codec: str) -> None:
    noise = np.random.default_rng(0)
    source = make_video(tmp_path / "a.mkv", 4, (128, 96), codec="ffv1")
    clip = Clip.open(source)
    sizes = []
    grain = noise.integers(-6, 6, (4, 96, 128))
    for quality in QUALITIES[codec]:
        path = tmp_path / f"{quality}.mkv"
        with VideoWriter(path, clip, EncoderSettings(codec=codec, quality=quality)) as writer:
            for frame in clip.frames():
                luma = np.clip(frame.planes[0] + grain[frame.index], 16, 235).astype(np.uint8)
                writer.write(frame.with_planes((luma, *frame.planes[1:])))
        sizes.append(path.stat().st_size)
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.8 * sizes[2]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (EncoderSettings(codec="ffv1", crf=4), "ffv1 has no crf"),
        (EncoderSettings(codec="prores_ks", preset="fast"), "no preset"),
        (EncoderSettings(codec="libsvtav1", preset="fast"), "no preset 'fast'"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    tmp_path: Path, settings: EncoderSettings, words: str
) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 2))
    with pytest.raises(InputError, match=words):
        VideoWriter(tmp_path / "b.mkv", clip, settings).check()


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "libsvtav1", "mpeg4"])
def test_gop_is_the_distance_of_key_frames(tmp_path: Path, codec: str) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 24, (128, 96)))
    counts = {}
    for gop in (4, 12):
        path = written(clip, tmp_path / f"{gop}.mkv", codec=codec, gop=gop).path
        with av.open(str(path)) as container:
            found = [p.is_keyframe for p in container.demux(video=0) if p.size]
        counts[gop] = sum(found)  # cuts may add some
    assert counts[4] >= 6 > counts[12] >= 2


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "libsvtav1"])
def test_crf_and_preset_act(tmp_path: Path, codec: str) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 6, (128, 96)))
    presets = ("ultrafast", "slow") if codec.startswith("libx") else ("8", "4")
    sizes = {
        (crf, preset): written(
            clip, tmp_path / f"{crf}{preset}.mkv", codec=codec, crf=crf, preset=preset
        ).path.read_bytes()
        for crf in (10, 40)
        for preset in presets
    }
    assert len(sizes[10, presets[0]]) > 1.3 * len(sizes[40, presets[0]])
    assert sizes[10, presets[0]] != sizes[10, presets[1]]


def test_further_options_act_beside_our_own(tmp_path: Path) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 12))
    path = written(clip, tmp_path / "b.mp4", options={"x264-params": "keyint=3"}).path
    with av.open(str(path)) as container:
        assert sum(p.is_keyframe for p in container.demux(video=0) if p.size) == 4


# What is kept, what is told


def make_transparent(path: Path, codec: str = "ffv1", pixel_format: str = "yuva444p") -> Path:
    """Three frames that fade out from left to right."""
    with av.open(str(path), "w") as target:
        video: Any = target.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = 96, 64, pixel_format
        for index in range(3):
            alpha = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (64, 1))[..., None]
            rgba = np.concatenate([pattern(index, 96, 64), alpha], axis=2)
            picture = av.VideoFrame.from_ndarray(rgba, "rgba").reformat(format=pixel_format)
            picture.pts, picture.time_base = index, Fraction(1, 25)
            target.mux(video.encode(picture))
        target.mux(video.encode(None))
    return path


@pytest.mark.parametrize(
    ("suffix", "codec", "pixel_format"),
    [(".mov", "prores_ks", "yuva444p10le"), (".mkv", "ffv1", "yuva444p"), (".mkv", "ffv1", "bgra")],
)
def test_transparency_is_carried(
    tmp_path: Path, suffix: str, codec: str, pixel_format: str
) -> None:
    clip = Clip.open(make_transparent(tmp_path / f"a{suffix}", codec, pixel_format))
    assert clip.alpha
    result = written(clip, tmp_path / f"b{suffix}")
    assert result.alpha
    top = 2**clip.bit_depth - 1
    for before, after in zip(clip.frames(), result.frames(), strict=True):
        assert before.alpha is not None and after.alpha is not None
        assert np.abs(before.alpha.astype(int) - after.alpha).max() <= (codec == "prores_ks") * 8
        assert before.alpha[0, 0] <= 2 and before.alpha[0, -1] >= top - 2


def test_transparency_that_cannot_be_carried_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = Clip.open(make_transparent(tmp_path / "a.mkv"))
    with caplog.at_level(logging.WARNING):
        assert not written(clip, tmp_path / "b.mp4").alpha
    assert caplog.text.count("transparency is left out") == 1
    caplog.clear()
    result = written(clip, tmp_path / "b.webm")
    assert "transparency" in caplog.text  # ours cannot be read back; players can
    assert result.codec == "vp9"


def test_opaque_pictures_with_a_fourth_channel_are_opaque(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mkv", 2, codec="ffv1", pixel_format="bgra")
    assert not Clip.open(source).alpha


@pytest.mark.parametrize("codec", ["libx265", "libx264", "libsvtav1"])
def test_hdr10_is_passed_on(tmp_path: Path, codec: str) -> None:
    colour = Colour(1, 9, 9, 16)
    plain = make_video(tmp_path / "a.mp4", 3, pixel_format="yuv420p10le", colour=colour)
    source = tmp_path / "hdr.mp4"
    options = {"x265-params": f"{HDR}:max-cll=1000,400"}
    written(Clip.open(plain), source, codec="libx265", options=options)
    clip = Clip.open(source)
    assert clip.hdr is not None and clip.hdr.light == (1000, 400)
    hdr = written(clip, tmp_path / "b.mp4", codec=codec).hdr
    assert hdr is not None and hdr.light == (1000, 400)
    assert clip.hdr.display is not None and hdr.display is not None
    kept = [float(value) for value in hdr.display]
    assert kept == pytest.approx([float(value) for value in clip.hdr.display], abs=1e-4)


def test_hdr10_that_is_lost_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plain = make_video(tmp_path / "a.mp4", 3, pixel_format="yuv420p10le")
    options = {"x265-params": HDR}
    hdr = written(Clip.open(plain), tmp_path / "b.mp4", codec="libx265", options=options)
    written(hdr, tmp_path / "c.mkv", codec="ffv1")
    assert caplog.text.count("mastering display") == 1


def test_twelve_bits_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mkv", 2, codec="ffv1", pixel_format="yuv420p12le"))
    list(clip.frames())
    list(clip.frames())
    assert caplog.text.count("its 12 bits per sample become 10") == 1


def test_a_size_that_changes_is_refused_at_its_frame(tmp_path: Path) -> None:
    for name, size in (("a", (96, 64)), ("b", (64, 48))):
        make_video(tmp_path / f"{name}.ts", 10, size, codec="mpeg2video")
    joined = tmp_path / "joined.ts"
    joined.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    count = 0
    with pytest.raises(InputError, match=r"frame \d+ .* is 64x48, those before it 96x64") as caught:
        for _ in Clip.open(joined).frames():
            count += 1
    assert f"frame {count} " in str(caught.value)
    assert count >= 9


def test_lost_packets_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = make_video(tmp_path / "a.ts", 60, (320, 192)).read_bytes()
    middle = len(whole) // 2 // 188
    (tmp_path / "b.ts").write_bytes(whole[: middle * 188] + whole[(middle + 5) * 188 :])
    list(Clip.open(tmp_path / "a.ts").frames())
    assert "damaged" not in caplog.text
    clip = Clip.open(tmp_path / "b.ts")
    list(clip.frames())
    list(clip.frames())
    assert caplog.text.count("it is damaged, data are missing") == 1


# New sound, and the last step


def tone(seconds: float, rate: int = 48000) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".mkv", ".avi"])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_replace_the_sound(tmp_path: Path, suffix: str, channels: int) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 25, audio=["aac", "aac"]))
    samples = tone(0.5) if channels == 1 else np.stack([tone(0.5), 0 * tone(0.5)], axis=1)
    sound = NewSound(samples, 48000, start=0.25)
    with VideoWriter(tmp_path / f"b{suffix}", clip, sound=sound) as writer:
        for frame in clip.frames():
            writer.write(frame)
    result = Clip.open(tmp_path / f"b{suffix}")
    assert [voice.channels for voice in result.audio] == [channels]
    with av.open(str(result.path)) as container:
        first = next(container.decode(container.streams.audio[0]))
    start = float(first.time or 0) - float(result.first_pts * result.time_base)
    loud = heard(result.path)
    assert start + np.argmax(np.abs(loud) > 0.2) / 48000 == pytest.approx(0.25, abs=0.01)
    assert np.abs(loud).max() == pytest.approx(0.5, abs=0.1)


def test_a_file_replaces_the_sound_bit_for_bit(tmp_path: Path) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 25, audio=["aac"]))
    other = make_video(tmp_path / "other.mp4", 25, audio=["aac", "aac"])
    with VideoWriter(tmp_path / "b.mp4", clip, sound=other) as writer:
        for frame in clip.frames():
            writer.write(frame)
    (found,) = packets(tmp_path / "b.mp4", "audio")
    assert found == packets(other, "audio")[0]


def test_packets_replace_the_sound(tmp_path: Path) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 25, audio=["aac"]))
    other = make_video(tmp_path / "other.mkv", 25, audio=["flac"])

    def voice(container: Any) -> Iterator[Any]:
        yield from container.demux(container.streams.audio[0])

    with (
        av.open(str(other)) as container,
        VideoWriter(tmp_path / "b.mkv", clip, sound=voice(container)) as writer,
    ):
        for frame in clip.frames():
            writer.write(frame)
    (found,) = packets(tmp_path / "b.mkv", "audio")
    assert [data for _, data in found] == [data for _, data in packets(other, "audio")[0]]


def test_the_last_step_sees_the_whole_film(tmp_path: Path) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 5))
    seen = []

    def finish(path: Path) -> None:
        assert not (tmp_path / "b.mp4").exists()
        seen.append(len(times(Clip.open(path))))
        replaced = path.with_name("signed")
        replaced.write_bytes(path.read_bytes() + b"\0\0\0\x08free")
        replaced.replace(path)

    with VideoWriter(tmp_path / "b.mp4", clip, finish=finish) as writer:
        for frame in clip.frames():
            writer.write(frame)
    assert seen == [5]
    assert (tmp_path / "b.mp4").read_bytes().endswith(b"free")
    assert names(tmp_path) == ["a.mp4", "b.mp4"]


def test_nothing_is_published_if_the_last_step_fails(tmp_path: Path) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 3))

    def finish(path: Path) -> None:
        raise OutputError("no")

    with (
        pytest.raises(OutputError, match="no"),
        VideoWriter(tmp_path / "b.mp4", clip, finish=finish) as writer,
    ):
        for frame in clip.frames():
            writer.write(frame)
    assert names(tmp_path) == ["a.mp4"]


# Hostile media


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.txt"])
def test_playlists_open_nothing(tmp_path: Path, name: str) -> None:
    make_video(tmp_path / "a.ts", 3)
    playlists = (
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\na.ts\n#EXT-X-ENDLIST\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{name}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile a.ts\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    )
    for text in playlists:
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match="not a video"):
            Clip.open(tmp_path / name)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that claims to be huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(10000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def test_picture_bombs_are_refused_from_their_header(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(bomb(9000, 9000))
    with pytest.raises(InputError, match=r"9000x9000, 81 megapixels; 64 are accepted"):
        Clip.open(tmp_path / "a.png", duration=1)
    with pytest.raises(InputError, match="megapixels"):
        read_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(bomb(30000, 30000))
    with pytest.raises(InputError, match="far too many pixels"):
        read_image(tmp_path / "b.png")
    (tmp_path / "b.png").write_bytes(bomb(2**31 - 1, 2**31 - 1))
    with pytest.raises(InputError, match="pixels"):
        read_image(tmp_path / "b.png")


def test_films_of_huge_pictures_are_refused(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4", 2, (640, 480))
    with pytest.raises(InputError, match=r"640x480.*--max-megapixels"):
        Clip.open(source, largest=0.3)
    assert Clip.open(source, largest=0.31).size == (640, 480)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    (tmp_path / ".b.mp4.partial").symlink_to(precious)
    clip = Clip.open(make_video(tmp_path / "a.mp4", 2))
    written(clip, tmp_path / "b.mp4")
    assert precious.read_text() == "mine"
    assert not (tmp_path / "b.mp4").is_symlink()


def test_a_replaced_temporary_file_is_not_published(tmp_path: Path) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 2))
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    with (
        pytest.raises(OutputError, match="replaced"),
        VideoWriter(tmp_path / "b.mp4", clip) as writer,
    ):
        (hidden,) = tmp_path.glob(".*.partial")
        hidden.unlink()
        hidden.symlink_to(precious)
        for frame in clip.frames():
            writer.write(frame)
    assert precious.read_text() == "mine"
    assert not (tmp_path / "b.mp4").exists()


def test_every_codec_has_every_quality() -> None:
    assert all(tuple(row) == get_args(Quality) for row in QUALITIES.values())


@pytest.mark.parametrize(
    ("name", "sound"), [("a.mov", "flac"), ("a.mov", "opus"), ("a.avi", "flac")]
)
def test_sound_that_a_container_refuses_late_is_refused_at_once(
    tmp_path: Path, name: str, sound: Any
) -> None:
    clip = Clip.open(make_video(tmp_path / "film.mp4", 5, audio=["aac"]))
    with pytest.raises(OutputError, match=r"cannot hold .* sound as it is"):
        VideoWriter(tmp_path / name, clip, EncoderSettings(sound=sound)).check()
