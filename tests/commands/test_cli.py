"""The command line: what reaches the rooms, what people see, and what is refused in one line."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import pytest
from places import ROOT

import ned
from ned.cli import main
from ned.core.errors import InputError, NedError, OutputError
from ned.options import DirectOptions

HEAVY = ("torch", "mediapipe", "cv2", "numba", "av")


@pytest.fixture
def directed(monkeypatch: pytest.MonkeyPatch) -> list[DirectOptions]:
    """The options that `ned direct` hands on; nothing is really directed."""
    calls: list[DirectOptions] = []

    def run(options: DirectOptions, progress: object) -> list[str]:
        calls.append(options)
        return [f"wrote {options.output_path}"]

    stand_in(monkeypatch, "direct", run, "run")
    return calls


def stand_in(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    function: Callable[..., object],
    called: str | None = None,
) -> None:
    """Replace the function of the module ned.commands.<name>."""
    module = ModuleType(f"ned.commands.{name}")
    setattr(module, called or name, function)
    monkeypatch.setitem(sys.modules, f"ned.commands.{name}", module)


def test_direct_hands_on_what_was_asked(
    directed: list[DirectOptions], capsys: pytest.CaptureFixture[str]
) -> None:
    words = "direct clip.mp4 --emotion happy -o out/happy.mov --intensity 0.5 --regions brows eyes"
    assert main([*words.split(), "--no-sidecar", "--speech-lock", "0.25", "--actor", "1"]) == 0
    expected = DirectOptions(
        clip=Path("clip.mp4"),
        output=Path("out/happy.mov"),
        emotion=("happy",),
        intensity=0.5,
        regions=("brows", "eyes"),
        sidecar=False,
        speech_lock=0.25,
        actor=1,
    )
    assert directed == [expected]
    assert capsys.readouterr() == ("wrote out/happy.mov\n", "")


def test_defaults_are_those_of_the_dataclass(directed: list[DirectOptions]) -> None:
    assert main(["direct", "clip.mp4", "--emotion", "happy"]) == 0
    assert directed == [DirectOptions(Path("clip.mp4"), emotion=("happy",))]


@pytest.mark.parametrize(
    "words",
    [
        "clip.mp4 --emotion happy sad:0.5",
        "--emotion happy sad:0.5 clip.mp4",
        "--emotion happy sad:0.5 -- clip.mp4",
        "clip.mp4 --emotion happy --emotion sad:0.5",
        "--emotion happy --verbose clip.mp4 --emotion sad:0.5",
    ],
)
def test_several_emotions_in_any_order(directed: list[DirectOptions], words: str) -> None:
    assert main(["direct", *words.split()]) == 0
    assert directed[0].emotion == ("happy", "sad:0.5")
    assert directed[0].clip == Path("clip.mp4")


HOSTILE = [
    "with blanks  in it.mp4",
    "-leading-dash.mp4",
    "--emotion.mp4",
    "--verbose",
    "quote'\"`$(touch x);&|.mp4",
    "[red]markup[/red] {braces} %s.mp4",
    "line\nbreak\ttab.mp4",
    "escape\x1b[31mred.mp4",
    "Gesichter – äöü 表情 🎭.mp4",
    "bytes-\udcff\udcfe.mp4",
    "no_suffix",
    ".hidden",
    "two..dots.tar.mp4",
    "UPPER.MOV",
    "n" * 200 + ".mp4",
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_reach_the_room_unchanged(
    name: str, directed: list[DirectOptions], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["direct", "--emotion", "happy", f"--output=out/{name}x", "--", name]) == 0
    assert os.fspath(directed[0].clip) == name
    assert os.fspath(directed[0].output or "") == f"out/{name}x"
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_in_errors_stay_on_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def direct(options: DirectOptions, progress: object) -> None:
        raise InputError(f"'{options.clip}' is not a clip; give a video file")

    stand_in(monkeypatch, "direct", direct, "run")
    assert main(["direct", "--emotion", "happy", "--", name]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("ned: error: '")]
    assert len(lines) == 1 and lines[0].isprintable()
    assert name == "--verbose" or lines == err.splitlines()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("clip.mp4", "give --emotion happy, --timeline '0:neutral 1.5:happy' or --reference"),
        ("clip.mp4 --emotion", "nothing to show"),
        ("clip.mp4 --emotion happy --timeline 0:sad", "exclude each other"),
        ("clip.mp4 --emotion happy --reference b.mp4", "exclude each other"),
        ("clip.mp4 --emotion happy --intensity 1.6", "--intensity is 1.6, give a number from 0"),
        ("clip.mp4 --emotion happy --intensity nan", "--intensity is nan"),
        ("clip.mp4 --emotion happy --intensity -1", "--intensity is -1"),
        ("clip.mp4 --emotion happy --speech-lock 2", "--speech-lock is 2, give 0 to 1"),
        ("clip.mp4 --emotion happy --shading -0.1", "--shading is -0.1, give 0 to 1"),
        ("clip.mp4 --emotion happy --crf 99", "--crf is 99"),
        ("clip.mp4 --emotion happy --actor -1", "--actor is -1, give 0 or more"),
        ("clip.mp4 --emotion happy --seed -1", "--seed is -1"),
        ("clip.mp4 --emotion happy --variant -1", "--variant is -1"),
        ("a.png --emotion happy --duration 0", "--duration is 0"),
        ("a.png --emotion happy --duration inf", "--duration is inf"),
        ("a.png --emotion happy --frame-rate 0", "--frame-rate is '0'"),
        ("a.png --emotion happy --frame-rate 1/0", "--frame-rate is '1/0'"),
        ("a.png --emotion happy --frame-rate fast", "--frame-rate is 'fast'"),
        ("clip.mp4 --emotion happy --regions", "--regions needs one or more of brows"),
        ("clip.mp4 --emotion happy -o clip.mp4", "is also the clip"),
        ("clip.mp4 --emotion happy -o ./x/../clip.mp4", "is also the clip"),
        ("clip.mp4 --emotion happy -o a.mp4 --preview a.mp4", "the preview a.mp4 is also the out"),
        ("clip.mp4 --emotion happy -o a.mp4 --contact-sheet a.mp4.json", "also the sidecar"),
        ("clip.mp4 --reference b.mp4 -o b.mp4", "is also the reference"),
        ("clip.mp4 --timeline t.yaml -o t.yaml", "is also the timeline"),
        ("clip.mp4 --emotion happy --performance p --save-performance p", "also the performance"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    words: str, message: str, directed: list[DirectOptions], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["direct", *words.split()]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("ned: error: ") and err.count("\n") == 1 and out == ""
    assert message in err
    assert directed == []


@pytest.mark.parametrize(
    ("clip", "wish", "output"),
    [
        ("a/clip.mp4", {"emotion": ("happy",)}, "a/clip_happy.mp4"),
        ("clip.MOV", {"emotion": ("happy:0.5+sad", "angry")}, "clip_happy_sad_angry.MOV"),
        ("clip.webm", {"emotion": ("../../x",)}, "clip_x.webm"),
        ("clip", {"emotion": ("表",)}, "clip_directed.mkv"),
        ("clip.wmv", {"emotion": ("sad",)}, "clip_sad.mkv"),
        ("clip.gif", {"emotion": ("sad",)}, "clip_sad.mp4"),
        ("face.png", {"timeline": "0:happy"}, "face_directed.mp4"),
        ("clip.mkv", {"reference": Path("b/other.mp4")}, "clip_as_other.mkv"),
    ],
)
def test_default_output(clip: str, wish: dict, output: str) -> None:
    options = DirectOptions(Path(clip), **wish)
    assert options.output_path == Path(output)
    assert options.sidecar_path == Path(output + ".json")
    assert dataclasses.replace(options, sidecar=False).sidecar_path is None


def test_output_may_be_a_folder(tmp_path: Path) -> None:
    options = DirectOptions(Path("clip.mp4"), emotion=("happy",), output=tmp_path)
    assert options.output_path == tmp_path / "clip_happy.mp4"


def test_output_through_a_link_is_still_the_clip(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "link.mp4").symlink_to("clip.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    with pytest.raises(OutputError, match="is also the clip"):
        DirectOptions(tmp_path / "clip.mp4", emotion=("happy",), output=tmp_path / "link.mp4")
    DirectOptions(tmp_path / "clip.mp4", emotion=("happy",), output=tmp_path / "loop.mp4")


@pytest.mark.parametrize(
    ("text", "rate"),
    [("25", 25), ("23.976", Fraction(24000, 1001)), ("30000/1001", Fraction(30000, 1001))],
)
def test_frame_rates_are_exact(text: str, rate: Fraction) -> None:
    assert DirectOptions(Path("a.png"), emotion=("happy",), frame_rate=text).rate == rate


def test_demo_is_as_long_as_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ned.commands import demo

    takes: list[DirectOptions] = []

    def stop(options: DirectOptions, progress: object) -> None:
        takes.append(options)
        raise InputError("seen")

    monkeypatch.setattr(demo, "direct", stop)
    assert main(["demo", str(tmp_path)]) == main(["demo", str(tmp_path), "--seconds", "2"]) == 1
    usual, short = takes
    assert usual.duration == 16 and (usual.timeline or "").startswith("0:happy 2:neutral 4:sad")
    assert short.duration == 2 and (short.timeline or "").endswith("1.5:disgusted 1.75:contempt")
    assert main(["demo", "--seconds", "0.5"]) == 1 and len(takes) == 2


def test_demo_and_info(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(monkeypatch, "demo", lambda options, progress: [f"look in {options.folder}"])
    stand_in(monkeypatch, "info", lambda options, progress: [str(options.clip), "25 fps"])
    assert main(["demo"]) == 0
    assert main(["demo", "elsewhere"]) == 0
    assert main(["info", "clip.mp4"]) == 0
    assert capsys.readouterr().out == "look in demo\nlook in elsewhere\nclip.mp4\n25 fps\n"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (NedError("no face in 'a.mp4', give another"), 1, "ned: error: no face in 'a.mp4'"),
        (
            OSError(28, "No space left on device", "a.mp4"),
            1,
            "ned: error: No space left on device: 'a.mp4'",
        ),
        (KeyboardInterrupt(), 130, "ned: interrupted, nothing was written"),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_errors_become_one_line_and_a_code(
    error: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def info(options: object, progress: object) -> list[str]:
        raise error

    monkeypatch.setattr("ned.cli._discard_output", lambda: None)
    stand_in(monkeypatch, "info", info)
    assert main(["info", "clip.mp4"]) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(line) and err.count("\n") == bool(line)


def test_mistakes_in_our_code_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def info(options: object, progress: object) -> list[str]:
        raise ValueError("a bug")

    stand_in(monkeypatch, "info", info)
    with pytest.raises(ValueError, match="a bug"):
        main(["info", "clip.mp4"])


@pytest.mark.parametrize("words", [[], ["fly"], ["direct"], ["direct", "a.mp4", "--emotoin", "x"]])
def test_misspelt_commands_exit_with_two(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2


def run(*words: str, code: str = "from ned.cli import main; sys.exit(main(sys.argv[1:]))"):
    """Run Python code in a fresh process that was given `words`."""
    command = [sys.executable, "-c", f"import sys; {code}", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize(
    "words", [["--help"], ["direct", "--help"], ["--version"], ["direct", "clip.mp4"]]
)
def test_parsing_imports_nothing_heavy(words: list[str]) -> None:
    code = f"""
from ned.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("imported:", [name for name in {HEAVY!r} if name in sys.modules])
"""
    result = run(*words, code=code)
    assert result.stdout.splitlines()[-1] == "imported: []", result.stderr


def test_help_is_quick() -> None:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        result = run("--help")
        seconds.append(time.perf_counter() - start)
        assert result.returncode == 0 and "direct" in result.stdout
    assert min(seconds) < 1.0


def test_version_and_module_entry() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "ned", "--version"], capture_output=True, text=True, cwd=ROOT
    )
    assert result.stdout == f"ned {ned.__version__}\n" and result.returncode == 0


def test_verbose_shows_where_an_error_happened() -> None:
    quiet, verbose = run("direct", "clip.mp4"), run("direct", "clip.mp4", "--verbose")
    assert quiet.returncode == verbose.returncode == 1
    assert "Traceback" not in quiet.stderr and quiet.stderr.count("\n") == 1
    assert "Traceback" in verbose.stderr and verbose.stderr.endswith(quiet.stderr)


def test_a_closed_pipe_is_quiet() -> None:
    code = """
import types
sys.modules["ned.commands.info"] = module = types.ModuleType("ned.commands.info")
module.info = lambda options, progress: ["line " * 20] * 10000
from ned.cli import main
sys.exit(main(["info", "clip.mp4"]))
"""
    with subprocess.Popen(
        [sys.executable, "-c", f"import sys{code}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 141


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["./preprocess.sh"], "give two arguments"),
        (["./preprocess.sh", ".", "testing"], "give train, test or reference"),
        (["./preprocess.sh", "missing folder", "test"], "not a folder"),
        (["./preprocess.sh", "tests", "test"], "has no folder 'videos'"),
        (["./postprocess.sh", "."], "give two arguments"),
        (["./postprocess.sh", "tests", "x", "tests"], "make the experiment first"),
    ],
)
def test_staged_scripts_refuse_in_one_line(words: list[str], message: str) -> None:
    result = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 1 and result.stdout == ""
    assert message in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words", ["direct -clip.mp4 --emotion happy", "info -clip.mp4", "direct a.mp4 -happy.yaml"]
)
def test_names_that_read_like_options_are_explained(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 1
    said = capsys.readouterr().err
    assert "reads like an option; write ./-" in said
    assert "command." not in said
