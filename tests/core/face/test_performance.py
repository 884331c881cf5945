"""Performances on disk: what is saved is loaded, and nothing else passes for one."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from acted_faces import acted, bump, turned, units_from
from safetensors import safe_open
from safetensors.numpy import load_file, save, save_file

from deca.rig import load_rig
from ned.core.errors import InputError, OutputError
from ned.core.face.performance import Performance, read_header


@pytest.fixture
def performance() -> Performance:
    """Nine frames of a smile on a turning head; the fourth without a face."""
    rig = load_rig()
    units = units_from(rig, 9, {"corner_pull": bump(9, 4, 2), "jaw_open": bump(9, 6, 1)})
    shots = np.array([0] * 5 + [1] * 4, np.int32)
    return acted(units, turned(np.linspace(-9, 9, 9), count=9), shots=shots, absent=(3,))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_equal(a: Performance, b: Performance) -> None:
    """Every field, every type and every bit."""
    for one, other in ((a, b), (a.track, b.track)):
        for field in dataclasses.fields(one):
            before, after = getattr(one, field.name), getattr(other, field.name)
            if isinstance(before, np.ndarray):
                assert before.dtype == after.dtype, field.name
                np.testing.assert_array_equal(before, after, err_msg=field.name)
            elif field.name == "parameters":
                assert sorted(before) == sorted(after)
                for name, array in before.items():
                    assert array.dtype == after[name].dtype, name
                    np.testing.assert_array_equal(array, after[name], err_msg=name)
            elif field.name != "track":
                assert before == after, field.name
                assert type(before) is type(after), field.name


@pytest.mark.parametrize("directed", [False, True])
def test_round_trip(performance: Performance, tmp_path: Path, directed: bool) -> None:
    if directed:
        performance.directed = performance.units + 0.25
    performance.save(tmp_path / "a.safetensors")
    assert_equal(performance, Performance.load(tmp_path / "a.safetensors"))
    assert names(tmp_path) == ["a.safetensors"]


def test_views_are_saved_as_they_look(performance: Performance, tmp_path: Path) -> None:
    """Arrays with strides (a part of a longer take) are not scrambled."""
    performance.units = np.repeat(performance.units, 2, axis=0)[::2]
    turned = np.asfortranarray(performance.rotation)
    performance.parameters = {**performance.parameters, "rotation": turned}
    performance.save(tmp_path / "a.safetensors")
    assert_equal(performance, Performance.load(tmp_path / "a.safetensors"))


def test_saving_replaces_and_obeys_the_mask(performance: Performance, tmp_path: Path) -> None:
    path = tmp_path / "ünï code.safetensors"
    path.write_bytes(b"an older file")
    performance.save(path)
    assert len(Performance.load(path)) == 9
    (tmp_path / "plain").touch()
    fresh = tmp_path / "fresh.safetensors"
    performance.save(fresh)
    assert fresh.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_missing_folder_is_an_error(performance: Performance, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written") as caught:
        performance.save(tmp_path / "none" / "a.safetensors")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_an_interruption_leaves_nothing(
    performance: Performance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        performance.save(tmp_path / "a.safetensors")
    assert names(tmp_path) == []


def test_a_folder_in_the_way_is_an_error(performance: Performance, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").mkdir()
    with pytest.raises(OutputError):
        performance.save(tmp_path / "a.safetensors")
    assert names(tmp_path) == ["a.safetensors"]


def refused(path: Path) -> str:
    """The words with which a file is refused."""
    with pytest.raises(InputError) as caught:
        Performance.load(path)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_performance(performance: Performance, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    assert "does not exist" in refused(path)
    path.mkdir()
    refused(path)
    path.rmdir()
    for content in (b"", b"hello", b"\x00" * 100, b"\xff" * 100):
        path.write_bytes(content)
        assert "not a performance" in refused(path)
    save_file({"units": np.zeros((3, 4), np.float32)}, path)
    assert "not a performance" in refused(path)
    save_file({"units": np.zeros((3, 4), np.float32)}, path, {"format": "another-1"})
    assert "not a performance" in refused(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_a_truncated_file_is_refused(
    performance: Performance, tmp_path: Path, share: float
) -> None:
    path = tmp_path / "a.safetensors"
    performance.save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "not a performance" in refused(path)


@pytest.mark.parametrize("gone", ["units", "track.codes", "parameter.rotation"])
def test_an_incomplete_file_is_refused(performance: Performance, tmp_path: Path, gone: str) -> None:
    path = tmp_path / "a.safetensors"
    performance.save(path)
    header = read_header(path)
    tensors = load_file(path)
    path.write_bytes(save(tensors, header))
    assert_equal(performance, Performance.load(path))  # so the header is what it should be
    kept = tensors.pop(gone)
    path.write_bytes(save(tensors, header))
    assert "incomplete" in refused(path)
    tensors[gone] = kept
    path.write_bytes(save(tensors, header | {"size": "wide"}))
    assert "incomplete" in refused(path)
    path.write_bytes(save({**tensors, "frames": tensors["frames"][:-1]}, header))
    assert "incomplete" in refused(path)


def test_files_of_the_first_format_are_read(performance: Performance, tmp_path: Path) -> None:
    """Parameters stood beside the units in them, and frames were not numbered."""
    path = tmp_path / "a.safetensors"
    performance.save(path)
    tensors = {n.removeprefix("parameter."): a for n, a in load_file(path).items()}
    del tensors["frames"]
    header = {
        "format": "ned-performance-1",
        "face_model": "rig",
        "unit_names": json.dumps(performance.unit_names),
        "size": "[640, 480]",
    }
    path.write_bytes(save(tensors, header))
    assert_equal(performance, Performance.load(path))
    del tensors["gaze"]
    path.write_bytes(save(tensors, header))
    assert "incomplete" in refused(path)


def test_times_and_length_are_those_of_the_track(performance: Performance) -> None:
    assert len(performance) == len(performance.track) == 9
    assert performance.times is performance.track.times
    np.testing.assert_allclose(performance.yaw, np.linspace(-9, 9, 9), atol=1e-4)
    np.testing.assert_allclose(performance.pitch, 0, atol=1e-4)


def damaged(array: np.ndarray, how: str) -> np.ndarray:
    if how == "longer":
        return np.concatenate([array, array[:1]])
    if how == "type":
        return np.zeros(array.shape, np.int8)
    return np.full(array.shape, np.nan, array.dtype)


@pytest.mark.parametrize("how", ["longer", "type", "nan"])
@pytest.mark.parametrize(
    "name",
    [
        *("units", "track.times", "track.boxes"),
        *(f"parameter.{name}" for name in ("rotation", "scale", "translation", "gaze")),
    ],
)
def test_wrong_arrays_are_refused(
    name: str, how: str, performance: Performance, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    performance.save(path)
    tensors = load_file(path)
    tensors[name] = damaged(tensors[name], how)
    with safe_open(path, "numpy") as file:
        header = file.metadata()
    save_file(tensors, path, header)
    with pytest.raises(InputError, match="incomplete") as caught:
        Performance.load(path)
    assert len(str(caught.value)) < 200 + len(str(path))


def test_deep_headers_are_refused(performance: Performance, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    performance.save(path)
    with safe_open(path, "numpy") as file:
        header = file.metadata()
    for key in ("size", "unit_names"):
        save_file(load_file(path), tmp_path / "b.safetensors", header | {key: "[" * 100_000})
        with pytest.raises(InputError, match="incomplete"):
            Performance.load(tmp_path / "b.safetensors")
