"""What people really hand over: one line says what is wrong, and nothing is left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from acted_faces import acted
from conftest import write_talking_clip
from made_up_films import make_video
from numpy.typing import NDArray
from places import ROOT

import ned.commands.direct
from deca.rig import load_rig
from ned.cli import main
from ned.core.film.clip import Clip

Contents = dict[str, bytes]


def contents(folder: Path) -> Contents:
    """Every file below a folder, hidden ones too, with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def brief(portrait: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of the talking portrait."""
    path = tmp_path_factory.mktemp("brief") / "brief.mp4"
    write_talking_clip(path, portrait, 0.24, (320, 320))
    return path


@pytest.fixture
def clip(brief: Path, tmp_path: Path) -> Path:
    """The brief clip in a folder of its own."""
    return Path(shutil.copyfile(brief, tmp_path / "clip.mp4"))


@pytest.fixture
def complaint(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Callable[[Sequence[object]], str]:
    """Runs `ned direct`, which must fail with one line and leave the folder as it was."""

    def run(words: Sequence[object]) -> str:
        before = contents(tmp_path)
        capfd.readouterr()
        code = main(["direct", *map(str, words)])
        said = capfd.readouterr()
        assert code == 1
        assert said.out == ""
        assert said.err.endswith("\n")
        assert said.err.count("\n") == 1, said.err
        assert said.err.startswith("ned: error: ")
        assert "Traceback" not in said.err
        assert contents(tmp_path) == before
        return said.err

    return run


@pytest.fixture
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where a clip is tracked although it was clear before that nothing will come of it."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("tracking began")

    monkeypatch.setattr("preprocessing.track.track_faces", fail)


# Clips


def missing(path: Path) -> None:
    """Make nothing."""


def truncated(path: Path) -> None:
    make_video(path, 30, audio=["aac"])
    path.write_bytes(path.read_bytes()[:2000])


def only_sound(path: Path) -> None:
    make_video(path, 10, audio=["aac"])
    with av.open(str(path)) as source, av.open(str(path) + ".m4a", "w") as target:
        voice = source.streams.audio[0]
        copy = target.add_stream_from_template(voice)
        for packet in source.demux(voice):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    Path(f"{path}.m4a").replace(path)


def no_pictures(path: Path) -> None:
    """A container with a video stream in which there is nothing."""
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        target.start_encoding()


CLIPS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (missing, "does not exist"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "text": (lambda path: path.write_text("I am a film.\n" * 99), "not a video"),
    "zeros": (lambda path: path.write_bytes(bytes(5000)), "not a video"),
    "truncated": (truncated, "not a video"),
    "folder": (lambda path: path.mkdir(), "is a folder"),
    "only sound": (only_sound, "only audio"),
    "no pictures": (no_pictures, ""),
    "playlist": (lambda path: path.write_text("#EXTM3U\n/etc/passwd\n"), ""),
}


@pytest.mark.usefixtures("untracked")
@pytest.mark.parametrize("kind", CLIPS)
def test_clips_that_are_none(
    kind: str, tmp_path: Path, complaint: Callable[[Sequence[object]], str]
) -> None:
    make, words = CLIPS[kind]
    make(tmp_path / "clip.mp4")
    said = complaint([tmp_path / "clip.mp4", "--emotion", "happy", "-o", tmp_path / "b.mp4"])
    assert words in said
    assert "clip.mp4" in said


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.usefixtures("untracked")
def test_a_pipe_is_not_waited_for(
    tmp_path: Path, complaint: Callable[[Sequence[object]], str]
) -> None:
    os.mkfifo(tmp_path / "clip.mp4")
    assert "not a regular file" in complaint([tmp_path / "clip.mp4", "--emotion", "happy"])


@pytest.mark.parametrize("size", [(96, 64), (8, 8), (2, 2), (640, 16)])
def test_clips_without_a_face(
    size: tuple[int, int], tmp_path: Path, complaint: Callable[[Sequence[object]], str]
) -> None:
    make_video(tmp_path / "clip.mp4", 8, size)
    said = complaint([tmp_path / "clip.mp4", "--emotion", "happy", "-o", tmp_path / "b.mp4"])
    assert "no face" in said


def test_noise_has_no_face(tmp_path: Path, complaint: Callable[[Sequence[object]], str]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "noise.png"), noise)
    said = complaint([tmp_path / "noise.png", "--duration", 1, "--emotion", "happy"])
    assert "no face" in said


@pytest.mark.usefixtures("untracked")
def test_a_picture_needs_a_duration_and_a_film_has_one(
    clip: Path, still_image: Path, tmp_path: Path, complaint: Callable[[Sequence[object]], str]
) -> None:
    output = ["-o", tmp_path / "b.mp4"]
    assert "--duration" in complaint([still_image, "--emotion", "happy", *output])
    assert "still images" in complaint([clip, "--emotion", "sad", "--duration", 2, *output])
    for duration in ("0", "-1", "nan", "inf"):
        assert "duration" in complaint(
            [still_image, "--emotion", "sad", "--duration", duration, *output]
        )
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(still_image.read_bytes()[:200])
    assert "image" in complaint([damaged, "--emotion", "sad", "--duration", 1, *output])


# Wishes


@pytest.mark.usefixtures("untracked")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--emotion", "joyful"], "happy, sad, angry"),
        (["--emotion", "happy:loud"], "not a number"),
        (["--emotion", "happy:9"], "1.5"),
        (["--emotion", "happy+happy"], "twice"),
        (["--emotion", ""], "the name of an emotion is missing"),
        (["--timeline", "0:happy 2"], "column 9"),
        (["--timeline", "0:happy 2:merry"], "column 11"),
        (["--timeline", "2:happy 1:sad"], "does not come after"),
        (["--timeline", "none.yaml"], "none.yaml"),
        (["--timeline", "0:happy", "--emotion", "sad"], "exclude each other"),
        ([], "nothing to show"),
        (["--emotion", "happy", "--intensity", "2"], "1.5"),
        (["--emotion", "happy", "--intensity", "nan"], "intensity"),
        (["--emotion", "happy", "--speech-lock", "1.1"], "0 to 1"),
        (["--emotion", "happy", "--shading", "-1"], "0 to 1"),
        (["--emotion", "happy", "--crf", "64"], "0 to 63"),
        (["--emotion", "happy", "--actor", "-1"], "0 or more"),
        (["--emotion", "happy", "--seed", "-1"], "0 or more"),
        (["--emotion", "happy", "--variant", "-2"], "0 or more"),
        (["--reference", "none.mp4"], "none.mp4"),
        (["--emotion", "happy", "--performance", "none.safetensors"], "none.safetensors"),
    ],
    ids=str,
)
def test_wishes_that_cannot_be_granted(
    words: list[str], said: str, clip: Path, complaint: Callable[[Sequence[object]], str]
) -> None:
    assert said in complaint([clip, *words])


@pytest.mark.usefixtures("untracked")
def test_a_malformed_take_names_line_and_column(
    clip: Path, tmp_path: Path, complaint: Callable[[Sequence[object]], str]
) -> None:
    take = tmp_path / "take.yaml"
    for text, place in (
        ("keys:\n- {at: 0, emotion: happy}\n- {at: 1, emotion: merry}\n", "line 3, column 20"),
        ("keys:\n- {at: 0, emotion: [happy\n", "line "),
        ("", "take.yaml"),
    ):
        take.write_text(text)
        said = complaint([clip, "--timeline", take])
        assert place in said
        assert "take.yaml" in said


def test_an_actor_who_is_not_there(
    clip: Path, tmp_path: Path, complaint: Callable[[Sequence[object]], str]
) -> None:
    said = complaint([clip, "--emotion", "sad", "--actor", 3, "-o", tmp_path / "b.mp4"])
    assert "1 actor" in said
    assert "--actor 3" in said


def test_a_reference_without_a_face(
    clip: Path, tmp_path: Path, complaint: Callable[[Sequence[object]], str]
) -> None:
    make_video(tmp_path / "sky.mp4", 6)
    said = complaint([clip, "--reference", tmp_path / "sky.mp4", "-o", tmp_path / "b.mp4"])
    assert "no face" in said
    assert "sky.mp4" in said


@pytest.mark.usefixtures("untracked")
def test_tracking_that_does_not_fit(
    clip: Path, tmp_path: Path, complaint: Callable[[Sequence[object]], str]
) -> None:
    saved = tmp_path / "saved.safetensors"
    words = [clip, "--emotion", "sad", "--performance", saved, "-o", tmp_path / "b.mp4"]
    saved.write_bytes(b"what?")
    assert "not a performance" in complaint(words)
    saved.unlink()
    saved.mkdir()
    assert "saved.safetensors" in complaint(words)
    saved.rmdir()
    units = np.zeros((9, len(load_rig())), np.float32)
    acted(units, size=(640, 480)).save(saved)
    assert "640x480" in complaint(words)
    acted(units, size=(320, 320), place=(160.0, 150.0)).save(saved)
    assert "6 frames" in complaint(words)


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--codec", "nonsense"], "nonsense"), (["--pixel-format", "rgb24"], "rgb24"),
     (["--preset", "quick"], "quick")],
    ids=str,
)  # fmt: skip
def test_encoders_that_do_not_exist(
    words: list[str],
    said: str,
    clip: Path,
    tmp_path: Path,
    complaint: Callable[[Sequence[object]], str],
) -> None:
    assert said in complaint([clip, "--emotion", "sad", "-o", tmp_path / "b.mp4", *words])


# Outputs


@pytest.mark.usefixtures("untracked")
def test_outputs_that_cannot_be(
    clip: Path, tmp_path: Path, complaint: Callable[[Sequence[object]], str]
) -> None:
    (tmp_path / "soft.mp4").symlink_to(clip)
    os.link(clip, tmp_path / "hard.mp4")
    (tmp_path / "folder.mp4").mkdir()
    words = [clip, "--emotion", "sad"]
    assert "clip" in complaint([*words, "-o", clip])
    assert "clip" in complaint([*words, "-o", tmp_path / "soft.mp4"])
    assert "input" in complaint([*words, "-o", tmp_path / "hard.mp4"])
    assert "clip" in complaint([*words, "-o", tmp_path / "folder.mp4" / ".." / "clip.mp4"])
    assert "create it" in complaint([*words, "-o", tmp_path / "none" / "b.mp4"])
    assert "suffix" in complaint([*words, "-o", tmp_path / "b.doc"])
    other = tmp_path / "b.mp4"
    assert "b.mp4" in complaint([*words, "-o", other, "--preview", other])
    assert "picture" in complaint([*words, "-o", other, "--contact-sheet", tmp_path / "s.mp4"])


@pytest.mark.usefixtures("untracked")
def test_a_folder_that_refuses(
    clip: Path, tmp_path: Path, complaint: Callable[[Sequence[object]], str]
) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):
        folder = Path("/proc")  # root may write anywhere but here
        if not folder.is_dir():
            pytest.skip("no folder here refuses this user")
    said = complaint([clip, "--emotion", "sad", "-o", folder / "b.mp4"])
    assert "cannot be written" in said


@pytest.mark.usefixtures("untracked")
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read all")
def test_a_clip_that_may_not_be_read(
    clip: Path, complaint: Callable[[Sequence[object]], str]
) -> None:
    clip.chmod(0)
    try:
        assert "permission" in complaint([clip, "--emotion", "sad"])
    finally:
        clip.chmod(0o600)


def test_an_older_result_survives_a_failure(
    clip: Path, tmp_path: Path, complaint: Callable[[Sequence[object]], str]
) -> None:
    (tmp_path / "b.mp4").write_bytes(b"an older result")
    words = [clip, "--emotion", "sad", "-o", tmp_path / "b.mp4"]
    assert "not made by this program" in complaint(words)
    assert "nonsense" in complaint([*words, "--codec", "nonsense", "--overwrite"])


def test_interruption_leaves_nothing(
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C in the middle of rendering."""
    real, seen = ned.commands.direct.rendered, []

    def interrupted(*arguments: object) -> object:
        for index, pair in enumerate(real(*arguments)):  # type: ignore[arg-type]
            if index == 3:
                seen.extend(path.name for path in tmp_path.glob(".*.partial"))
                raise KeyboardInterrupt
            yield pair

    monkeypatch.setattr(ned.commands.direct, "rendered", interrupted)
    before = contents(tmp_path)
    words = [clip, "--emotion", "sad", "-o", tmp_path / "b.mp4", "--preview", tmp_path / "p.mp4"]
    assert main(["direct", *map(str, words)]) == 130
    assert contents(tmp_path) == before
    # It was in the middle.
    assert sorted(name.split(".", 2)[2] for name in seen) == ["b.mp4.partial", "p.mp4.partial"]
    said = capsys.readouterr()
    assert said.err == "ned: interrupted, nothing was written\n"
    assert said.out == ""


FULL_DISK = """
import resource, sys
from ned.cli import main
import ned.commands.direct
real = ned.commands.direct.rendered
def rendered(*arguments):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
    return real(*arguments)
ned.commands.direct.rendered = rendered
sys.exit(main(sys.argv[2:]))
"""


def run_with_full_disk(limit: int, *words: object) -> subprocess.CompletedProcess[str]:
    """`ned direct` where, from the moment of rendering, no file may grow beyond `limit` bytes."""
    return subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(limit), "direct", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("limit", [8000])
def test_full_disk(limit: int, clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("resource")
    before = contents(tmp_path)
    done = run_with_full_disk(limit, clip, "--emotion", "sad", "-o", tmp_path / "b.mp4")
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    assert "cannot be written" in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("ned: error: ")
    assert len(done.stderr.splitlines()) == 1
    assert contents(tmp_path) == before


# Names

NAMES = [
    "with blanks  in it.mp4",
    "quote'\"`$(touch x);&|.mp4",
    "-leading-dash.mp4",
    "--emotion.mp4",
    "percent %d %s 100%.mp4",
    "colon:in:it.mp4",
    "http:evil.mp4",
    "line\nbreak\ttab.mp4",
    "Gesichter – äöü 表情 🎭.mp4",
    "[red]markup[red] {braces} * ? #.mp4",
    "n" * 220 + ".mp4",
]


@pytest.mark.skipif(os.name == "nt", reason="Windows forbids these names")
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_hostile_names_from_end_to_end(
    name: str,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    clip.rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    words = ["--emotion", "sad", "-o", "out/" + name, "--preset", "ultrafast", "--", name]
    assert main(["direct", *words]) == 0
    written = Path("out") / name
    record, saved = f"{name}.json", f"{name}.safetensors"
    assert names(Path("out")) == sorted([name, record, saved])
    assert len(list(Clip.open(written).frames())) == 6
    said = capfd.readouterr()
    assert said.err == ""
    assert said.out.count("\n") == 3  # the result, the record, the performance
    assert "x" not in names(Path())


@pytest.mark.skipif(os.name == "nt", reason="Windows forbids these names")
def test_a_leading_dash_behind_a_folder(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default name of the result begins with a dash too."""
    clip.rename(tmp_path / "-x.mp4")
    monkeypatch.chdir(tmp_path)
    assert main(["direct", "./-x.mp4", "--emotion", "sad", "--no-sidecar"]) == 0
    assert names(Path()) == ["-x.mp4", "-x_sad.mp4"]
