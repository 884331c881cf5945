"""Bombs: pictures, tensors, archives and text that ask for gigabytes get one line, at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from acted_faces import acted
from bombs import DEEP, gif_bomb, png_bomb, tensor_file
from made_up_films import make_video, pattern
from places import ROOT

from deca.detail import _read_fixed
from deca.flame_file import read_flame
from deca.flame_landmarks import read_mediapipe
from deca.rig import load_rig
from ned.core.errors import AssetError, InputError, NedError
from ned.core.face.performance import Performance
from ned.core.face.track import Track
from ned.core.files.assets import add_asset
from ned.core.files.checkpoint import load_weights
from ned.core.files.jobs import read_manifest
from ned.core.files.json_files import parse_json
from ned.core.files.records import Record
from ned.core.film.clip import Clip
from ned.core.film.image_files import is_marked, read_image, read_mask
from ned.evaluation.pairs import emotion_of
from postprocessing import images2video
from postprocessing.replacing import check_replaceable

BIG = (20_000, 20_000)


def line_of(work: Callable[[], object], *kinds: type[NedError]) -> str:
    """The one line that something hostile is answered with."""
    with pytest.raises(kinds or NedError) as caught:
        work()
    said = str(caught.value)
    assert "\n" not in said and len(said) < 600
    return said


# Pictures


_MEASURED = """
import os, shutil, sys
from ned.cli import main
code = main(sys.argv[2:])
if os.path.exists("/proc/self/status"):
    shutil.copyfile("/proc/self/status", sys.argv[1])
sys.exit(code)
"""


@pytest.fixture(scope="module")
def png(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bombs") / "bomb.png"
    path.write_bytes(png_bomb(*BIG))
    assert path.stat().st_size < 50_000
    return path


@pytest.fixture(scope="module")
def gif(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bombs") / "bomb.gif"
    path.write_bytes(gif_bomb(16_000, 16_000))
    assert path.stat().st_size < 6_000
    return path


def test_the_bombs_are_real(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_bomb(320, 200))
    assert read_image(tmp_path / "a.png").shape == (200, 320, 3)
    (tmp_path / "a.gif").write_bytes(gif_bomb(320, 200))
    (frame,) = Clip.open(tmp_path / "a.gif").frames()
    assert frame.rgb().shape == (200, 320, 3) and frame.rgb().max() <= 1


def test_no_reader_decodes_them(png: Path, gif: Path, tmp_path: Path) -> None:
    for read in (read_image, read_mask):
        assert "megapixels" in line_of(lambda read=read: read(png), InputError)
    assert "megapixels" in line_of(lambda: Clip.open(png, duration=1), InputError)
    assert "no picture can be decoded" in line_of(lambda: Clip.open(gif), InputError)
    assert not is_marked(png)
    smaller = tmp_path / "smaller.png"  # than what Pillow refuses by itself
    smaller.write_bytes(png_bomb(10_000, 10_000))
    assert "100 megapixels" in line_of(lambda: read_image(smaller), InputError)


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="the system does not count")
@pytest.mark.parametrize(
    ("command", "kind"), [("info", "png"), ("reference", "png"), ("evaluate", "gif")]
)
def test_commands_answer_in_one_line(
    command: str, kind: str, png: Path, gif: Path, tmp_path: Path
) -> None:
    bomb = png if kind == "png" else gif
    film, out = tmp_path / "a.mp4", tmp_path / "out.mp4"
    make_video(film, 3)
    happy = ["--emotion", "happy", "-o", out]
    words = {
        "info": [bomb],
        "direct": [bomb, *happy, *(["--duration", 1] if kind == "png" else [])],
        "reference": [film, "--reference", bomb, "-o", out],
        "evaluate": [bomb, bomb],
    }[command]
    verb = "direct" if command == "reference" else command
    errors = tmp_path / "errors"
    with errors.open("wb") as file:
        child = subprocess.Popen(
            [sys.executable, "-c", _MEASURED, str(tmp_path / "status"), verb, *map(str, words)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=file,
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    said = errors.read_text()
    assert child.returncode == 1, said
    assert said.startswith("ned: error: ") and said.count("\n") == 1
    if sys.platform == "linux":  # what wait4 tells includes the parent at the fork
        status = (tmp_path / "status").read_text()
        peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
        assert int(peak) < 500_000  # KiB
    assert used.ru_utime + used.ru_stime < 10  # most of it imports
    assert not out.exists()


@pytest.mark.parametrize("place", [0, 2])
def test_images2video_refuses_them(place: int, png: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(3):
        cv2.imwrite(str(folder / f"{index:06d}.png"), pattern(index, 64, 48))
    (folder / f"{place:06d}.png").write_bytes(png.read_bytes())
    out = tmp_path / "b.mp4"
    line_of(lambda: images2video.images2video(folder, out), InputError)
    assert not out.exists()


def test_a_bomb_in_the_way_of_a_result_is_not_opened(png: Path, gif: Path, tmp_path: Path) -> None:
    for bomb, name in ((png, "a.png"), (gif, "a.mp4"), (png, "a.mkv")):
        (tmp_path / name).write_bytes(bomb.read_bytes())
        path = tmp_path / name
        assert "not made by this" in line_of(lambda path=path: check_replaceable(path, False))


# Tensors

STRANGE = {
    "bfloat16": {"a": ("BF16", [2], bytes(4))},
    "float8": {"a": ("F8_E4M3", [4], bytes(4))},
    "no size": {"a": ("F32", [0, 10**18], b"")},
    "too large a side": {"a": ("F32", [0, 2**63, 4], b"")},
    "overflow": {"a": ("F32", [2**40, 2**30], b"")},
    "many axes": {"a": ("F32", [1] * 100, bytes(4))},
    "complex": {"a": ("C64", [1], bytes(8))},
    "nothing": {},
}


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize("key", ["units", "track.times", "identity", "parameter.scale"])
def test_performances_and_tracks_of_strange_tensors(tmp_path: Path, name: str, key: str) -> None:
    rows: Any = {key if own == "a" else own: row for own, row in STRANGE[name].items()}
    path = tmp_path / "a.safetensors"
    size = {"size": "[64, 48]", "clip": ""}
    metadata = {"format": "ned-performance-2", "face_model": "rig", "unit_names": "[]", **size}
    path.write_bytes(tensor_file(rows, {**metadata, "parameters": "[]"}))
    line_of(lambda: Performance.load(path), InputError)
    rows = {k.removeprefix("track."): row for k, row in rows.items()}
    path.write_bytes(tensor_file(rows, {"format": "ned-track-1", **size}))
    line_of(lambda: Track.load(path), InputError)
    path.write_bytes(tensor_file(rows, {"format": "ned-flame-1"}))
    line_of(lambda: read_flame(path), NedError)


@pytest.mark.parametrize("name", ["too large a side", "overflow"])
def test_weights_of_strange_tensors(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(tensor_file(STRANGE[name]))  # type: ignore[arg-type]
    line_of(lambda: load_weights(path), InputError)


def hybrid_header(**changes: Any) -> dict[str, str]:
    shape = {"size": 64, "widths": [8, 8], "blocks": [1], **changes}
    return {"format": "ned-hybrid-1", "shape": json.dumps(shape), "record": "{}"}


@pytest.mark.parametrize(
    "change",
    [
        {"blocks": [1_000_000]},
        {"blocks": [1] * 1000},
        {"widths": [10**9, 8]},
        {"widths": []},
        {"size": 10**12},
        {"size": -1},
        {"size": True},
        {"size": 1e300},
        {"widths": "ab"},
        {"blocks": None},
    ],
    ids=str,
)
def test_hybrid_headers_that_ask_for_everything(tmp_path: Path, change: dict[str, Any]) -> None:
    pytest.importorskip("torch")
    from renderer.hybrid.network import FORMAT, load_network

    path = tmp_path / "hybrid.safetensors"
    header = {**hybrid_header(**change), "format": FORMAT}
    path.write_bytes(tensor_file({"a": ("F32", [1], bytes(4))}, header))
    assert "header" in line_of(lambda: load_network(path), InputError)
    for damaged in ("shape", "record"):
        path.write_bytes(
            tensor_file({"a": ("F32", [1], bytes(4))}, {**header, damaged: DEEP[:50_000]})
        )
        line_of(lambda: load_network(path), InputError)


@pytest.mark.parametrize(
    "change",
    [
        {"generator_hidden": 10**9},
        {"generator_in": [10**9, 1]},
        {"generator_in": [8]},
        {"generator_in": 8},
        {"values": -1},
        {"values": True},
        {"window": 10**12},
        {"emotions": ["a"] * 100_000},
        {"emotions": [1]},
        {"emotions": []},
        {"residual": 7},
        {"unknown": 1},
        {"mapping": 1e300},
        DEEP[:50_000],
        [],
    ],
    ids=lambda value: str(value)[:40],
)
def test_manipulator_headers_that_ask_for_everything(tmp_path: Path, change: Any) -> None:
    pytest.importorskip("torch")
    from manipulator.checkpoints import load_manipulator
    from manipulator.networks import RIG

    path = tmp_path / "02_nets.safetensors"
    settings = change if isinstance(change, str) else json.dumps(change or [])
    if isinstance(change, dict):
        settings = json.dumps({**RIG.to_dict(), **change})
    metadata = {
        "format": "ned-manipulator-1",
        "face_model": "rig",
        "unit_names": "[]",
        "settings": settings,
        "record": "{}",
    }
    own = ("F32", [RIG.values], bytes(4 * RIG.values))
    rows: Any = {"normalisation/mean": own, "normalisation/spread": own}
    path.write_bytes(tensor_file(rows, metadata))
    assert "does not say" in line_of(lambda: load_manipulator(path), AssetError)


# What performances say of time


@pytest.fixture
def performance() -> Performance:
    return acted(np.zeros((6, len(load_rig())), np.float32))


def damaged(kept: Performance, name: str) -> Any:
    times = kept.track.times
    if name in ("nan", "inf", "negative", "backwards"):
        times[2] = {"nan": np.nan, "inf": np.inf, "negative": -5.0, "backwards": -0.1}[name]
    elif name == "no times":
        times[:] = np.nan
    elif name == "huge scale":
        kept.scale[1] = np.inf
    elif name == "box":
        kept.track.boxes[3] = np.nan
    elif name == "size":
        kept.track.size = (10**9, 4)
    elif name == "frames":
        kept.frames[:] = 4
    return kept


@pytest.mark.parametrize(
    "name",
    ["no times", "nan", "inf", "negative", "backwards", "huge scale", "box", "size", "frames"],
)
def test_numbers_that_cannot_be(tmp_path: Path, performance: Performance, name: str) -> None:
    path = tmp_path / "a.safetensors"
    performance.save(path)
    assert len(Performance.load(path)) == 6
    damaged(performance, name).save(path)
    assert "incomplete" in line_of(lambda: Performance.load(path), InputError)


# JSON


def test_deep_json_is_a_value_error() -> None:
    assert parse_json(b'{"a": [1]}') == {"a": [1]}
    for text in (DEEP, '{"a":' * 200_000, "nonsense", "", b"\xff\xfe\x00", "9" * 10_000):
        with pytest.raises(ValueError):
            parse_json(text)


def test_deep_json_in_records_is_as_none(tmp_path: Path, performance: Performance) -> None:
    (tmp_path / "record.json").write_text(DEEP)
    assert Record.load(tmp_path / "record.json").made == {}
    result = make_video(tmp_path / "b_sad.mp4", 2)
    (tmp_path / "b_sad.mp4.json").write_text(DEEP)
    assert emotion_of(result, Path("b.mp4")) == "sad"
    assert "not made" in line_of(lambda: check_replaceable(result, False))
    (tmp_path / "jobs.jsonl").write_text(f"{DEEP}\n{DEEP}\n")
    line_of(lambda: read_manifest(tmp_path / "jobs.jsonl"), InputError)
    performance.track.clip = DEEP
    performance.save(tmp_path / "a.safetensors")
    from preprocessing.fingerprint import is_of

    assert is_of(Performance.load(tmp_path / "a.safetensors").track, [])


# Archives

FLAME_NAME = "generic_model.pkl"


def archive(path: Path, name: str, data: bytes, kind: int = zipfile.ZIP_DEFLATED) -> bytearray:
    with zipfile.ZipFile(path, "w", kind) as target:
        target.writestr(name, data)
    return bytearray(path.read_bytes())


def patched(data: bytearray, local: int, central: int, value: bytes) -> bytes:
    """Overwrite a field of both headers of an archive with one member."""
    for mark, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        at = data.index(mark) + offset
        data[at : at + len(value)] = value
    return bytes(data)


@pytest.mark.parametrize("fault", ["encrypted", "method", "cut", "lies", "sum", "none"])
def test_archives_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setenv("NED_ASSETS", str(tmp_path / "assets"))
    path = tmp_path / "flame.zip"
    data = archive(path, FLAME_NAME, b"\x80\x02]." + bytes(5000))
    if fault == "encrypted":
        path.write_bytes(patched(data, 6, 8, b"\1\0"))
    elif fault == "method":
        path.write_bytes(patched(data, 8, 10, b"\x63\0"))
    elif fault == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif fault == "lies":
        path.write_bytes(patched(data, 22, 24, (10).to_bytes(4, "little")))
    elif fault == "sum":
        path.write_bytes(patched(data, 14, 16, b"abcd"))
    else:
        path.write_bytes(b"PK")
    line_of(lambda: add_asset(path), NedError)
    left = [p for p in tmp_path.rglob("*") if p.is_file() and p != path]
    assert left == []


def test_members_that_unpack_to_gigabytes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NED_ASSETS", str(tmp_path / "assets"))
    path = tmp_path / "flame.zip"
    monkeypatch.setattr("ned.core.files.assets._MOST_BYTES", 1 << 16)
    data = archive(path, FLAME_NAME, bytes(1 << 20))
    assert "at most" in line_of(lambda: add_asset(path), AssetError)
    path.write_bytes(patched(data, 22, 24, (100).to_bytes(4, "little")))  # and lies about it
    line_of(lambda: add_asset(path), NedError)
    assert not [one for one in (tmp_path / "assets").rglob("*") if one.is_file()]


def test_members_stay_in_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NED_ASSETS", str(tmp_path / "here" / "assets"))
    path = tmp_path / "flame.zip"
    archive(path, f"../../../{FLAME_NAME}", b"\x80\x02].")
    assert add_asset(path) == [tmp_path / "here" / "assets" / FLAME_NAME]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["flame.zip", "here"]


def test_arrays_that_unpack_to_gigabytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "embedding.npz"
    np.savez_compressed(path, landmark_indices=np.zeros(10**8, np.uint8))
    assert "unpack" in line_of(lambda: read_mediapipe(path, 10), InputError)
    path.write_bytes(b"nothing")
    line_of(lambda: read_mediapipe(path, 10), InputError)
    fixed = tmp_path / "fixed.npy"
    for shape in ("(10000000000000,)", "(256, 256)"):
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        fixed.write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode())
        line_of(lambda: _read_fixed(fixed), AssetError)
    np.save(fixed, np.array(["a"]))
    line_of(lambda: _read_fixed(fixed), AssetError)
    np.savez(path, a=np.zeros(3))
    fixed.write_bytes(path.read_bytes())
    line_of(lambda: _read_fixed(fixed), AssetError)
