"""Ways in: foreign Python files never run, missing packages are one line, settings come back."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import pytest
from places import ROOT

from ned.core.threads import single_threaded_opencv
from preprocessing.framework import load_mediapipe
from renderer import rendering

DOORS = {
    "renderer/train.py": "usage: ned train-renderer",
    "renderer/test.py": "usage: ned render",
    "manipulator/train.py": "usage: ned train-manipulator",
    "manipulator/test.py": "usage: ned manipulate",
    "preprocessing/reconstruct.py": "usage: ned reconstruct",
    "preprocessing/reconstruct_MEAD.py": "usage: ned reconstruct-mead",
    "preprocessing/detect_affwild2.py": "usage: ned detect-affwild2",
    "postprocessing/images2video.py": "usage: images2video.py",
}
FOREIGN = ("tyro", "deca", "renderer", "preprocessing", "manipulator", "numpy", "cv2", "pathlib")
# Ahead of everything in a process: modules of these names cannot be found.
BLOCK = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
sys.argv[0] = "ned"
from ned.door import enter
sys.exit(enter())
"""


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with somebody else's Python files under names that we use; all of them tell."""
    folder = tmp_path / "somebody's folder"
    for name in FOREIGN:
        (folder / name).mkdir(parents=True)
        for file in (folder / f"{name}.py", folder / name / "__init__.py"):
            file.write_text("raise SystemExit('foreign code was run')\n")
    (folder / "ned").mkdir()
    (folder / "ned" / "results.txt").touch()
    return folder


def run(
    *words: object, cwd: Path, pythonpath: str = str(ROOT), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command with the packages of this checkout."""
    return subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": pythonpath, **environment},
        check=False,
    )


def test_the_module_runs_nothing_of_the_current_folder(hostile: Path) -> None:
    done = run(sys.executable, "-m", "ned", "info", "none.mp4", cwd=hostile)
    assert done.stderr.startswith("ned: error: 'none.mp4' does not exist"), done.stderr
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and not done.stdout


def test_empty_entries_of_the_path_are_no_way_in(hostile: Path) -> None:
    code = "import sys; from ned.door import enter; sys.exit(enter())"
    path = f"{ROOT}{os.pathsep}"  # its empty entry is the current folder
    (hostile / "pathlib.py").unlink()  # Python itself imports these as it starts
    (hostile / "pathlib" / "__init__.py").unlink()
    done = run(sys.executable, "-c", code, "info", "none.mp4", cwd=hostile, pythonpath=path)
    assert done.stderr.startswith("ned: error: 'none.mp4' does not exist"), done.stderr


def test_the_checkout_itself_is_no_foreign_folder() -> None:
    done = run(sys.executable, "-m", "ned", "--version", cwd=ROOT, pythonpath="")
    assert done.returncode == 0 and done.stdout.startswith("ned ")


@pytest.mark.parametrize("door", DOORS)
def test_doors_find_their_packages_from_anywhere(door: str, hostile: Path) -> None:
    done = run(sys.executable, ROOT / door, "--help", cwd=hostile, pythonpath="", COLUMNS="200")
    assert done.returncode == 0 and DOORS[door] in done.stdout, done.stderr


@pytest.mark.parametrize("path", ["", os.pathsep])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("preprocess.sh", "actor", "test"), "holds no video"),
        (("postprocess.sh", "actor", "x", "actor"), "make the experiment first"),
    ],
)
def test_scripts_run_nothing_of_the_current_folder(
    words: tuple[str, ...], message: str, path: str, hostile: Path
) -> None:
    (hostile / "sitecustomize.py").write_text("raise SystemExit('foreign code was run')\n")
    (hostile / "actor" / "videos").mkdir(parents=True)
    prefix = {"VIRTUAL_ENV": sys.prefix}
    done = run(ROOT / words[0], *words[1:], cwd=hostile, pythonpath=path, **prefix)
    assert message in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("name", ["preprocess.sh", "postprocess.sh"])
def test_scripts_without_packages_are_one_line(name: str, tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\necho 'no such version' >&2\nexit 1\n")  # as an empty shim does
    python.chmod(0o755)
    script = tmp_path / name  # a checkout without .venv
    script.write_bytes((ROOT / name).read_bytes())
    path = f"{python.parent}{os.pathsep}/usr/bin{os.pathsep}/bin"
    words = ["bash", str(script), str(tmp_path), "test", "x"]
    done = subprocess.run(words, capture_output=True, text=True, env={"PATH": path}, check=False)
    assert done.returncode == 1 and not done.stdout
    assert "run 'make demo'" in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize(
    ("missing", "words", "advice"),
    [
        ("tyro", "info a.mp4", "tyro is not installed for"),
        ("av", "info {}/a.mp4", "av is not installed for"),
        ("torch", "train-renderer --celeb {} --checkpoints_dir {}", "'ned[neural]'"),
        ("torch", "train-hybrid {} -o {}/model", "'ned[neural]'"),
        ("torch", "train-manipulator --train_root {} --checkpoints_dir {}", "'ned[neural]'"),
        ("torch", "render --celeb {} --exp_name a --checkpoints_dir {}", "'ned[neural]'"),
        ("torch", "export-renderer {} {}/a.onnx", "'ned[neural]'"),
    ],
)
def test_missing_packages_are_one_line(
    missing: str, words: str, advice: str, tmp_path: Path
) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no film")
    code = BLOCK.format(names={missing})
    given = [word.format(tmp_path) for word in words.split()]
    done = run(sys.executable, "-c", code, *given, cwd=tmp_path)
    assert done.returncode == 1 and not done.stdout
    assert advice in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_our_own_missing_modules_are_not_hidden(tmp_path: Path) -> None:
    code = BLOCK.format(names={"deca"})
    done = run(sys.executable, "-c", code, "info", "a.mp4", cwd=tmp_path)
    assert "Traceback" in done.stderr


def test_opencv_gets_its_threads_back() -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        usual = cv2.getNumThreads()  # what OpenCV makes of it
        with pytest.raises(ValueError, match="on the way"), single_threaded_opencv():
            assert cv2.getNumThreads() == 1
            raise ValueError("on the way")
        assert cv2.getNumThreads() == usual
    finally:
        cv2.setNumThreads(before)


def test_overlapping_uses_of_opencv_in_any_order() -> None:
    usual = cv2.getNumThreads()
    first, second = single_threaded_opencv(), single_threaded_opencv()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert cv2.getNumThreads() == 1
    other = threading.Thread(target=second.__exit__, args=(None, None, None))
    other.start()
    other.join()
    assert cv2.getNumThreads() == usual


def test_rendering_gives_opencv_its_threads_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering._Edits, "of", lambda *_: None)
    frames = [SimpleNamespace(index=number) for number in range(9)]
    clip: Any = SimpleNamespace(frames=lambda: iter(frames))
    renderer = rendering.Renderer(lambda *_: cast(Any, None), shades=False)
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        usual = cv2.getNumThreads()
        nothing: Any = []
        pairs: Any = rendering.rendered(clip, nothing, nothing, nothing, renderer=renderer)
        assert next(pairs)[0] is frames[0] and cv2.getNumThreads() == 1
        pairs.close()  # nobody wants the rest
        assert cv2.getNumThreads() == usual
    finally:
        cv2.setNumThreads(before)


def test_mediapipe_leaves_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOG_minloglevel", "0")
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    before = dict(os.environ)
    load_mediapipe()
    assert dict(os.environ) == before


def test_a_part_of_mediapipe_sees_what_all_of_it_sees() -> None:
    """Graphs whose options were not imported run without them, and nobody says so."""
    program = """
import sys
import numpy as np
from skimage.data import astronaut
if sys.argv[1] == "all":
    import mediapipe
from preprocessing.face_detector import FaceDetector, Tile
from preprocessing.face_mesh import FaceMesh
picture = np.ascontiguousarray(astronaut()[:280, 90:370])
with FaceMesh() as mesh, FaceDetector() as detector:
    found = detector.search(picture, [Tile(0, 0, 280)])
    found += detector.look(picture, found[0].window())
    print(found, mesh.landmarks(picture, [found[0].window()])[0][0].tolist())
print("matplotlib" in sys.modules)
import mediapipe
print(callable(mediapipe.solutions.drawing_utils.draw_landmarks), mediapipe.tasks.vision.__name__)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    part, everything = (
        subprocess.run(
            [sys.executable, "-c", program, which],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        ).stdout.splitlines()
        for which in ("part", "all")
    )
    assert part[0] == everything[0]
    assert (part[1], everything[1]) == ("False", "True")
    assert part[2] == everything[2] == "True mediapipe.tasks.python.vision"
