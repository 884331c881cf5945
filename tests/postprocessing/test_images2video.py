"""Pictures to films: rates, times, sound, missing and damaged pictures, the script."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from places import ROOT

from ned.core.errors import InputError, OutputError
from ned.core.film.clip import Clip
from ned.core.film.encoder import EncoderSettings
from ned.core.film.image_files import read_image, read_mask, write_image
from postprocessing.images2video import images2video, main

FAST = EncoderSettings(preset="ultrafast", crf=4)


def _colour(index: int) -> tuple[int, int, int]:
    return (20 + 4 * index) % 250, (200 - 3 * index) % 250, 90


def _write(
    folder: Path,
    numbers: range | list[int],
    size: tuple[int, int] = (96, 64),
    name: str = "{:06d}.png",
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        image = np.full((size[1], size[0], 3), _colour(number), np.uint8)
        write_image(folder / name.format(number), image)
    return folder


def _frames(path: Path) -> list:
    return list(Clip.open(path).frames())


def _sound(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_pictures_are_read_as_they_were_written(tmp_path):
    image = np.random.default_rng(1).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    write_image(tmp_path / "a.png", image)
    assert (read_image(tmp_path / "a.png") == image).all()
    mask: np.ndarray = image[..., 0] > 128
    write_image(tmp_path / "m.png", mask)
    assert (read_mask(tmp_path / "m.png") == mask).all()
    write_image(
        tmp_path / "m3.png",
        np.where(mask[..., None], np.full(3, 255, np.uint8), np.zeros(3, np.uint8)),
    )
    assert (read_mask(tmp_path / "m3.png") == mask).all()


@pytest.mark.parametrize("size", [(96, 64), (97, 63)])
def test_without_a_source_thirty_a_second_in_order(tmp_path, size):
    folder = _write(tmp_path / "imgs", range(3, 15), size)
    film = images2video(folder, tmp_path / "out.mp4", settings=FAST)
    assert (film.pictures, film.kept, film.frame_rate) == (12, 0, 30)
    assert "no source known" in film.summary[0]
    frames = _frames(tmp_path / "out.mp4")
    clip = frames[0].clip
    assert (clip.size, clip.frame_rate, len(frames), clip.audio) == (size, 30, 12, ())
    for number, frame in zip(range(3, 15), frames, strict=True):
        middle = frame.rgb()[20:40, 20:60].reshape(-1, 3).mean(0)
        np.testing.assert_allclose(middle, _colour(number), atol=3)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert "frames of imgs" in container.metadata["comment"]


def test_given_rate_and_plain_names(tmp_path):
    folder = _write(tmp_path / "imgs", range(5), name="shot_{:03d}.png")
    rate = Fraction(24000, 1001)
    images2video(folder, tmp_path / "out.mp4", frame_rate=rate, settings=FAST, provenance=False)
    clip = Clip.open(tmp_path / "out.mp4")
    assert (clip.frame_rate, clip.frame_count) == (rate, 5)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert "comment" not in container.metadata


def test_source_gives_times_and_sound(tmp_path, talking_clip):
    source = _frames(talking_clip)
    folder = _write(tmp_path / "imgs", range(2, len(source)), size=(128, 96))
    film = images2video(folder, tmp_path / "out.mp4", source=talking_clip, settings=FAST)
    assert film.frame_rate == 25
    with av.open(str(tmp_path / "out.mp4")) as container:
        start = min(float(s.start_time * s.time_base) for s in container.streams)
        times = [frame.time - start for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, [frame.time for frame in source[2:]], atol=1e-4)
    assert _sound(tmp_path / "out.mp4") == _sound(talking_clip)


def test_frames_without_a_picture_at_the_ends_are_the_sources(tmp_path, talking_clip):
    source = _frames(talking_clip)
    folder = _write(tmp_path / "imgs", range(2, 40), size=(480, 480))
    film = images2video(folder, tmp_path / "out.mp4", source=talking_clip, settings=FAST)
    assert (film.pictures, film.kept) == (38, len(source) - 38)
    assert "source's" in film.summary[1]
    frames = _frames(tmp_path / "out.mp4")
    assert [frame.time for frame in frames] == [frame.time for frame in source]
    assert np.abs(frames[1].rgb().astype(int) - source[1].rgb()).mean() < 3
    np.testing.assert_allclose(frames[2].rgb().mean((0, 1)), _colour(2), atol=3)
    assert np.abs(frames[41].rgb().astype(int) - source[41].rgb()).mean() < 3


def test_given_rate_wins_over_the_source_and_sound_stays(tmp_path, talking_clip):
    folder = _write(tmp_path / "imgs", range(10))
    images2video(
        folder,
        tmp_path / "out.mkv",
        source=talking_clip,
        frame_rate=Fraction(10),
        settings=FAST,
    )
    clip = Clip.open(tmp_path / "out.mkv")
    assert len(clip.audio) == 1
    times = [frame.time for frame in clip.frames()]
    np.testing.assert_allclose(times, np.arange(10) / 10, atol=2e-3)


def test_actors_only_video_gives_the_rate(tmp_path, talking_clip):
    (tmp_path / "actor" / "videos").mkdir(parents=True)
    (tmp_path / "actor" / "videos" / "take.mp4").symlink_to(talking_clip)
    folder = _write(tmp_path / "actor" / "happy" / "full_frames", range(4))
    film = images2video(folder, tmp_path / "out.mp4", settings=FAST)
    assert (film.frame_rate, film.rate_from) == (25, "of take.mp4")
    assert not Clip.open(tmp_path / "out.mp4").audio


def _refused(folder: Path, output: Path, **options) -> str:
    with pytest.raises(InputError) as caught:
        images2video(folder, output, settings=FAST, **options)
    assert not list(output.parent.glob(f"*{output.suffix}"))
    assert not list(output.parent.glob(".*partial"))
    return str(caught.value)


def test_missing_and_wrong_pictures_are_named(tmp_path):
    output = tmp_path / "out.mp4"
    folder = _write(tmp_path / "imgs", [0, 1, 2, 5])
    assert "000003.png' is missing (2 in a row)" in _refused(folder, output)
    _write(folder, [3], size=(96, 66))
    _write(folder, [4])
    assert "000003.png' has 96x66 pixels" in _refused(folder, output)
    (folder / "000003.png").write_bytes((folder / "000002.png").read_bytes()[:50])
    assert "damaged image" in _refused(folder, output)
    _write(folder, [3], name="{:03d}.png")
    assert "have one number" in _refused(folder, output)
    (tmp_path / "empty").mkdir()
    assert "holds no picture" in _refused(tmp_path / "empty", output)
    assert "does not exist" in _refused(tmp_path / "nowhere", output)
    assert "is not a folder" in _refused(folder / "000000.png", output)


def test_wrong_sources_and_rates_are_named(tmp_path, talking_clip, still_image):
    output = tmp_path / "out.mp4"
    folder = _write(tmp_path / "imgs", range(60))
    assert "too few for picture '000059.png'" in _refused(folder, output, source=talking_clip)
    assert "still image" in _refused(folder, output, source=still_image)
    assert "0 frames/s" in _refused(folder, output, frame_rate=Fraction(0))
    assert "does not exist" in _refused(folder, output, source=tmp_path / "none.mp4")
    with pytest.raises(OutputError, match="unknown suffix"):
        images2video(folder, tmp_path / "out.txt")


def test_script_runs_from_the_repository(tmp_path, talking_clip):
    root = ROOT
    folder = _write(tmp_path / "imgs", range(6))
    script = [sys.executable, "postprocessing/images2video.py", "--imgs_path", str(folder)]
    script += ["--out_path", str(tmp_path / "out.mp4"), "--audio", str(talking_clip)]
    done = subprocess.run(script, cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 pictures of 96x64, 25 frames/s" in done.stdout
    assert Clip.open(tmp_path / "out.mp4").audio


def test_script_says_errors_on_one_line(tmp_path, capsys):
    code = main(["--imgs_path", str(tmp_path), "--out_path", str(tmp_path / "out.mp4")])
    assert code == 1
    error = capsys.readouterr().err
    assert error.startswith("images2video.py: error: ")
    assert error.count("\n") == 1
    with pytest.raises(SystemExit):
        main(["--imgs_path", str(tmp_path), "--out_path", "x.mp4", "--fps", "often"])
    assert "is no frame rate" in capsys.readouterr().err


def test_first_picture_is_not_blank(tmp_path):
    folder = _write(tmp_path / "imgs", range(2))
    images2video(folder, tmp_path / "out.mp4", settings=FAST)
    image = _frames(tmp_path / "out.mp4")[0].rgb()
    assert cv2.absdiff(image, np.full_like(image, _colour(0))).max() < 12
