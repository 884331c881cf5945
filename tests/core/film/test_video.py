"""Writing: what of a clip survives, and what is left behind when something goes wrong."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from made_up_films import (
    HOSTILE_NAMES,
    assert_same_film,
    make_video,
    names,
    packets,
    pattern,
    times,
)
from places import CLIPS, ROOT

from ned.core.errors import InputError, OutputError
from ned.core.files.partial import Partial
from ned.core.film.clip import Clip, Colour
from ned.core.film.stream_copies import common_shift
from ned.core.film.video import EncoderSettings, VideoWriter, check_output, remux

FAST = EncoderSettings(preset="ultrafast", crf=8)


def write(
    clip: Clip,
    path: Path,
    settings: EncoderSettings = FAST,
    metadata: dict[str, str] | None = None,
    edited: Sequence[int] = (),
) -> Clip:
    """The clip, written frame by frame, opened again."""
    with VideoWriter(path, clip, settings, metadata) as writer:
        for frame in clip.frames():
            if frame.index in edited:
                luma, u, v = frame.planes
                frame = frame.with_planes((luma.copy(), u, v))
            writer.write(frame)
    return Clip.open(path)


def lowest_psnr(source: Clip, result: Clip) -> float:
    """Decibels of the worst plane of any frame."""
    lowest = 120.0
    top = 2**source.bit_depth - 1
    for before, after in zip(source.frames(), result.frames(), strict=True):
        for a, b in zip(before.planes, after.planes, strict=True):
            error = np.mean((a.astype(float) - b.astype(float)) ** 2)
            lowest = min(lowest, 10 * np.log10(top**2 / max(error, 1e-12)))
    return float(lowest)


def leftovers(folder: Path) -> list[str]:
    return [name for name in names(folder) if name.endswith(".partial")]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(
    ("rate", "time_base"),
    [
        (Fraction(30000, 1001), Fraction(1, 30000)),
        (Fraction(24000, 1001), Fraction(1, 90000)),
        (Fraction(25), Fraction(1, 12800)),
    ],
)
def test_times_and_audio_are_kept(
    tmp_path: Path, suffix: str, rate: Fraction, time_base: Fraction
) -> None:
    clip = Clip.open(
        make_video(tmp_path / "a.mp4", 40, rate=rate, time_base=time_base, audio=["aac", "aac"])
    )
    result = write(clip, tmp_path / f"b{suffix}", edited=range(0, 40, 3))
    assert result.frame_rate == rate
    assert [audio.language for audio in result.audio] == ["eng", "fra"]
    # Matroska counts in milliseconds.
    assert_same_film(clip, result, 0.0011 if suffix == ".mkv" else 0)
    assert lowest_psnr(clip, result) > 45


@pytest.mark.parametrize(
    ("pixel_format", "colour"),
    [
        ("yuv420p", Colour(1, 1, 1, 1)),
        ("yuv420p", Colour(2, 6, 6, 6)),
        ("yuv422p", Colour(1, 5, 5, 6)),
        ("yuv444p", Colour(2, 1, 1, 13)),
        ("yuv420p10le", Colour(1, 9, 9, 16)),
        ("yuv422p10le", Colour(1, 9, 9, 18)),
    ],
)
def test_format_and_colour_tags_are_kept(tmp_path: Path, pixel_format: str, colour: Colour) -> None:
    path = make_video(
        tmp_path / "a.mp4", 6, pixel_format=pixel_format, colour=colour, aspect=Fraction(64, 45)
    )
    clip = Clip.open(path)
    result = write(clip, tmp_path / "b.mp4", edited=[1, 2])
    assert (result.pixel_format, result.colour) == (pixel_format, colour)
    assert result.sample_aspect_ratio == Fraction(64, 45)
    assert lowest_psnr(clip, result) > 45


def test_full_range_jpeg_film(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mov", 4, codec="mjpeg", pixel_format="yuvj420p")
    clip = Clip.open(path)
    result = write(clip, tmp_path / "b.mp4")
    assert result.full_range
    assert result.pixel_format == "yuv420p"
    assert lowest_psnr(clip, result) > 45


def test_variable_rate_is_kept(tmp_path: Path) -> None:
    moments = [0, 500, 1001, 1400, 4000, 4001, 9000, 9500, 9600, 12000, 12100, 12200]
    path = make_video(
        tmp_path / "a.mp4", times=moments, time_base=Fraction(1, 15000), audio=["aac"]
    )
    clip = Clip.open(path)
    assert clip.variable_rate
    assert_same_film(clip, write(clip, tmp_path / "b.mp4"))


def test_variable_rate_is_kept_to_the_millisecond(tmp_path: Path) -> None:
    moments = [0, 40, 55, 70, 72, 300, 301, 900, 1000]
    path = make_video(tmp_path / "a.mkv", times=moments, time_base=Fraction(1, 1000))
    clip = Clip.open(path)
    assert_same_film(clip, write(clip, tmp_path / "b.mkv"))
    assert_same_film(clip, write(clip, tmp_path / "c.mp4"))


@pytest.mark.parametrize("source_suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize(("first", "audio"), [(0, 0.25), (22500, 0), (90017, 0.7), (900000, 11.3)])
def test_streams_that_begin_late_stay_in_sync(
    tmp_path: Path, source_suffix: str, first: int, audio: float
) -> None:
    moments = [first + 3600 * i for i in range(20)]
    path = make_video(
        tmp_path / f"a{source_suffix}",
        times=moments,
        time_base=Fraction(1, 90000),
        audio=["mp2" if source_suffix == ".ts" else "aac"],
        audio_start=Fraction(audio).limit_denominator(1000),
    )
    clip = Clip.open(path)
    result = write(clip, tmp_path / "b.mp4")
    assert_same_film(clip, result)
    remux(clip, tmp_path / "c.mp4", {"comment": "copied"})
    assert_same_film(clip, Clip.open(tmp_path / "c.mp4"))
    assert times(result)[0] < 2 or min(first / 90000, audio) < 0.01


def test_common_shift_rounds_no_time() -> None:
    bases = [Fraction(1, 12800), Fraction(1, 44100), Fraction(1001, 30000)]
    shift = common_shift([Fraction(41, 2), Fraction(23)], bases)
    assert shift == Fraction(2002, 100)
    assert all((shift / base).denominator == 1 for base in bases)
    assert common_shift([Fraction(-1, 50), Fraction(3)], bases) == 0


@pytest.mark.parametrize(("codec", "delivered"), [("libx264", "yuv444p"), ("ffv1", "yuv420p")])
def test_odd_sizes_are_kept(tmp_path: Path, codec: str, delivered: str) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mkv", 4, (97, 63), codec="ffv1"))
    settings = EncoderSettings(codec=codec, quality="master")
    result = write(clip, tmp_path / "b.mkv", settings, edited=[1])
    assert (result.size, result.pixel_format) == ((97, 63), delivered)
    assert all(
        cv2.PSNR(a.rgb(), b.rgb()) > 33 for a, b in zip(clip.frames(), result.frames(), strict=True)
    )


def test_rotated_source_becomes_upright(tmp_path: Path) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 6, rotation=90, aspect=Fraction(2, 1)))
    if clip.rotation == 0:
        pytest.skip("this PyAV cannot write a rotation tag")
    result = write(clip, tmp_path / "b.mp4")
    assert (result.size, result.rotation) == ((64, 96), 0)
    assert clip.sample_aspect_ratio == result.sample_aspect_ratio == Fraction(1, 2)
    assert lowest_psnr(clip, result) > 45
    remux(clip, tmp_path / "c.mp4", {"comment": "copied"})
    copy = Clip.open(tmp_path / "c.mp4")
    assert (copy.size, copy.rotation) == (clip.size, clip.rotation)


@pytest.fixture
def rich(tmp_path: Path) -> Path:
    """A Matroska film with two voices, subtitles, chapters and tags."""
    return make_video(
        tmp_path / "rich.mkv",
        20,
        audio=["aac", "flac"],
        subtitles=[(40, 300, b"Hello"), (400, 300, b"World")],
        chapters=["One", "Two"],
        metadata={"title": "A film"},
    )


def test_everything_else_is_kept(rich: Path, tmp_path: Path) -> None:
    clip = Clip.open(rich)
    result = write(clip, tmp_path / "b.mkv", metadata={"ned_edit": "ünï=1", "title": "New"})
    assert_same_film(clip, result)
    assert packets(result.path, "subtitle") == packets(rich, "subtitle")
    with av.open(str(result.path)) as container:
        assert [c["metadata"]["title"] for c in container.chapters()] == ["One", "Two"]
        tags = {key.lower(): value for key, value in container.metadata.items()}
    assert (tags["title"], tags["ned_edit"]) == ("New", "ünï=1")


def test_what_does_not_fit_is_logged(
    rich: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = Clip.open(rich)
    with caplog.at_level(logging.WARNING):
        result = write(clip, tmp_path / "b.mp4", metadata={"comment": "c", "ned_edit": "x"})
    assert "subtitle stream 3 is left out" in caplog.text
    assert_same_film(clip, result)
    with av.open(str(result.path)) as container:
        assert [c["metadata"]["title"] for c in container.chapters()] == ["One", "Two"]
        assert container.metadata["comment"] == "c"
        assert container.metadata["ned_edit"] == "x"
        assert container.metadata["title"] == "A film"


def test_silent_film_on_request(rich: Path, tmp_path: Path) -> None:
    settings = EncoderSettings(preset="ultrafast", sound="none")
    result = write(Clip.open(rich), tmp_path / "b.mkv", settings)
    assert result.audio == ()
    assert len(packets(result.path, "subtitle")) == 1


def test_losing_all_sound_is_an_error(tmp_path: Path) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 3, audio=["aac"]))
    with pytest.raises(OutputError, match=r"cannot hold aac .*--sound opus converts it"):
        write(clip, tmp_path / "b.webm", EncoderSettings(codec="libvpx-vp9", sound="copy"))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [
        ("libx265", ".mp4"),
        ("ffv1", ".mkv"),
        ("prores_ks", ".mov"),
        ("libvpx-vp9", ".webm"),
        ("mpeg4", ".avi"),
        ("h264", ".m4v"),
    ],
)
def test_other_codecs(tmp_path: Path, codec: str, suffix: str) -> None:
    try:
        av.Codec(codec, "w")
    except ValueError:
        pytest.skip(f"this PyAV has no {codec}")
    clip = Clip.open(make_video(tmp_path / "a.mp4", 6, rate=Fraction(25)))
    result = write(clip, tmp_path / f"b{suffix}", EncoderSettings(codec=codec, gop=3))
    assert len(times(result)) == 6
    assert times(result)[5] - times(result)[0] == pytest.approx(0.2, abs=1e-3)
    if codec == "ffv1":
        assert lowest_psnr(clip, result) == 120
    if codec == "prores_ks":
        assert result.pixel_format == "yuv422p10le"


@pytest.mark.parametrize(
    ("settings", "suffix", "error", "words"),
    [
        (EncoderSettings(codec="nonsense"), ".mp4", InputError, "nonsense"),
        (EncoderSettings(codec="aac"), ".mp4", InputError, "not video"),
        (EncoderSettings(options={"nooption": "1"}), ".mp4", InputError, "nooption"),
        (EncoderSettings(preset="quick"), ".mp4", InputError, "quick"),
        (EncoderSettings(pixel_format="rgb24"), ".mp4", InputError, "rgb24"),
        (EncoderSettings(codec="prores_ks"), ".mp4", OutputError, "cannot hold"),
        (EncoderSettings(codec="libx264"), ".webm", OutputError, "libvpx-vp9"),
    ],
)
def test_unusable_settings(
    tmp_path: Path, settings: EncoderSettings, suffix: str, error: type, words: str
) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 2))
    with pytest.raises(error, match=words) as caught:
        write(clip, tmp_path / f"b{suffix}", settings)
    assert "\n" not in str(caught.value)
    assert leftovers(tmp_path) == []
    assert not (tmp_path / f"b{suffix}").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_after_an_interruption(tmp_path: Path, error: type) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 6, audio=["aac"]))
    (tmp_path / "b.mp4").write_bytes(b"an older result")
    with pytest.raises(error), VideoWriter(tmp_path / "b.mp4", clip, FAST) as writer:
        writer.write(next(clip.frames()))
        assert len(leftovers(tmp_path)) == 1
        raise error
    assert names(tmp_path) == ["a.mp4", "b.mp4"]
    assert (tmp_path / "b.mp4").read_bytes() == b"an older result"


def test_no_frame_is_an_error(tmp_path: Path) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 2))
    with pytest.raises(OutputError, match="no frame"), VideoWriter(tmp_path / "b.mp4", clip):
        pass
    assert names(tmp_path) == ["a.mp4"]


def test_frames_must_move_on_and_fit(tmp_path: Path) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mp4", 2))
    other = Clip.open(make_video(tmp_path / "c.mp4", 2, (64, 64)))
    with VideoWriter(tmp_path / "b.mp4", clip, FAST) as writer:
        frame = next(clip.frames())
        writer.write(frame)
        with pytest.raises(ValueError, match="later"):
            writer.write(frame)
        with pytest.raises(ValueError, match="fit"):
            writer.write(next(other.frames()))


def test_check_output(tmp_path: Path) -> None:
    source = make_video(tmp_path / "a.mp4", 2)
    (tmp_path / "folder.mp4").mkdir()
    os.link(source, tmp_path / "hard.mp4")
    (tmp_path / "soft.mp4").symlink_to(source)
    cases = {
        "a.mp4": "input itself",
        "folder.mp4/../a.mp4": "input itself",
        "hard.mp4": "input itself",
        "soft.mp4": "input itself",
        "folder.mp4": "is a folder",
        "none/b.mp4": "does not exist",
        "a.mp4/b.mp4": "does not exist",
        "b.xyz": "unknown suffix",
        "b": "unknown suffix",
        "y" * 300 + ".mp4": "cannot be written",
    }
    for name, words in cases.items():
        with pytest.raises(OutputError, match=words) as caught:
            check_output(source, tmp_path / name)
        assert "\n" not in str(caught.value)
    check_output(source, tmp_path / "b.MP4")
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "b.MP4").exists()


def test_unwritable_folder(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):
        folder = Path("/proc")  # root may write anywhere but here
        if not folder.is_dir():
            pytest.skip("no folder here refuses this user")
    with pytest.raises(OutputError, match="cannot be written"):
        check_output(tmp_path / "a.mp4", folder / "b.mp4")


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    first = Partial(tmp_path / "b.mp4")
    with pytest.raises(OutputError, match="another process"):
        check_output(tmp_path / "a.mp4", tmp_path / "b.mp4")
    first.discard()
    (tmp_path / ".b.mp4.partial").write_bytes(b"left by a killed run")
    clip = Clip.open(make_video(tmp_path / "a.mp4", 2))
    assert write(clip, tmp_path / "b.mp4").frame_count == 2
    assert leftovers(tmp_path) == []


FULL_DISK = """
import resource, sys
from pathlib import Path
from ned.core.film.clip import Clip
from ned.core.errors import OutputError
from ned.core.film.video import EncoderSettings, VideoWriter, remux
clip, output, how = Clip.open(sys.argv[1]), sys.argv[2], sys.argv[4]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    if how == "write":
        with VideoWriter(output, clip, EncoderSettings(preset="ultrafast", crf=4)) as writer:
            for frame in clip.frames():
                writer.write(frame)
    else:
        remux(clip, output, {"comment": "x"} if how == "remux" else None)
except OutputError as error:
    sys.exit(3 if "\\n" not in str(error) else 4)
"""


@pytest.mark.parametrize(
    ("limit", "how", "suffix"),
    [
        (0, "write", "mp4"),
        (30000, "write", "mp4"),
        (30000, "write", "mkv"),
        (-800, "write", "mp4"),
        (-1, "write", "mkv"),
        (20000, "remux", "mp4"),
        (20000, "copy", "mp4"),
    ],
)
def test_full_disk(tmp_path: Path, limit: int, how: str, suffix: str) -> None:
    pytest.importorskip("resource")
    source = make_video(tmp_path / "a.mp4", 30, (320, 192), audio=["aac"])
    output = tmp_path / f"b.{suffix}"
    if limit < 0:  # so many bytes short of what is needed
        settings = EncoderSettings(preset="ultrafast", crf=4)
        write(Clip.open(source), output, settings)
        limit += output.stat().st_size
        output.unlink()
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(source), str(output), str(limit), how],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr.decode()
    assert names(tmp_path) == ["a.mp4"]


@pytest.mark.skipif(os.name == "nt", reason="Windows forbids these names")
@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names_are_written(tmp_path: Path, name: str) -> None:
    source = make_video(tmp_path / "plain.mp4", 3, audio=["aac"])
    source.rename(tmp_path / name)
    (tmp_path / "out").mkdir()
    result = write(Clip.open(tmp_path / name), tmp_path / "out" / name)
    assert result.frame_count == 3
    assert names(tmp_path / "out") == [name]


def test_copy_is_byte_for_byte(rich: Path, tmp_path: Path) -> None:
    remux(Clip.open(rich), tmp_path / "b.mkv")
    assert (tmp_path / "b.mkv").read_bytes() == rich.read_bytes()


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_remux_decodes_to_the_same_pictures(rich: Path, tmp_path: Path, suffix: str) -> None:
    source = rich
    if suffix == ".mov":  # which knows no FLAC
        source = make_video(tmp_path / "a.mp4", 20, audio=["aac"])
    clip = Clip.open(source)
    remux(clip, tmp_path / f"b{suffix}", {"comment": "copied"})
    result = Clip.open(tmp_path / f"b{suffix}")
    assert_same_film(clip, result)
    assert lowest_psnr(clip, result) == 120
    with av.open(str(result.path)) as container:
        assert "copied" in container.metadata.values()


def test_remux_refuses_what_does_not_fit(tmp_path: Path) -> None:
    clip = Clip.open(make_video(tmp_path / "a.mkv", 2))
    with pytest.raises(OutputError, match="cannot hold h264"):
        remux(clip, tmp_path / "b.webm")
    cv2.imwrite(str(tmp_path / "a.png"), pattern(0, 64, 64))
    with pytest.raises(InputError, match="still image"):
        remux(Clip.open(tmp_path / "a.png", duration=1), tmp_path / "b.mp4")
    assert names(tmp_path) == ["a.mkv", "a.png"]


def test_image_becomes_a_film(tmp_path: Path) -> None:
    pixels = pattern(0, 96, 64)
    cv2.imwrite(str(tmp_path / "a.png"), pixels[:, :, ::-1])
    clip = Clip.open(tmp_path / "a.png", duration=0.4)
    result = write(clip, tmp_path / "b.mp4", metadata={"comment": "still"})
    assert (result.frame_count, result.frame_rate, result.size) == (10, 25, (96, 64))
    assert all(cv2.PSNR(frame.rgb(), pixels) > 33 for frame in result.frames())


def test_damaged_source_is_written_as_far_as_it_goes(tmp_path: Path) -> None:
    source = make_video(
        tmp_path / "a.mp4", 60, audio=["aac"], container_options={"movflags": "faststart"}
    )
    data = source.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 6 // 10])
    clip = Clip.open(tmp_path / "cut.mp4")
    result = write(clip, tmp_path / "b.mp4")
    assert len(times(result)) == len(times(clip)) > 10


def test_memory_is_flat(tmp_path: Path) -> None:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("memory is measured through /proc")
    clip = Clip.open(make_video(tmp_path / "a.mp4", 200, (480, 270), audio=["aac"]))
    sizes = []
    with VideoWriter(tmp_path / "b.mp4", clip, FAST) as writer:
        for frame in clip.frames():
            luma, u, v = frame.planes
            writer.write(frame.with_planes((luma.copy(), u, v)))
            sizes.append(int(statm.read_text().split()[1]) * 4096 / 1e6)
    assert sizes[-1] - sizes[100] < 8  # 100 frames are 19 MB


def test_real_clips(tmp_path: Path) -> None:
    if not CLIPS.is_dir():
        pytest.skip(f"no real clips in {CLIPS}; set NED_CLIPS to a folder of them")
    for path in sorted(CLIPS.glob("*.mp4")):
        clip = Clip.open(path)
        if (clip.frame_count or 0) > 100:
            continue
        result = write(clip, tmp_path / path.name, edited=[0, 5])
        assert_same_film(clip, result)
        assert (result.frame_rate, result.colour) == (clip.frame_rate, clip.colour)
        assert lowest_psnr(clip, result) > 45
