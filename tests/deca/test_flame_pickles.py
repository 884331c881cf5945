"""Export and import: NED's .pkl files as scikit-image reads them, and back without loss."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from made_up_codes import random_codes

from deca.flame_codes import FlameCodes
from deca.flame_pickles import export_codes, import_codes, load_codes
from ned.cli import main
from ned.core.errors import InputError
from ned.core.face.performance import Performance
from ned.core.files.actor import Actor

ARRAYS = ("shape", "expression", "pose", "camera", "texture", "light", "detail", "transforms")


@pytest.fixture
def actor(tmp_path: Path) -> Actor:
    """Two clips of 4 and 3 frames with their codes and box files."""
    (tmp_path / "videos").mkdir()
    for name, count in (("a", 4), ("b", 3)):
        (tmp_path / "videos" / f"{name}.mp4").write_bytes(b"")
        (tmp_path / "videos" / f"{name}.txt").write_text("head\n" + "0 0 9 9\n" * count)
    random_codes(4, seed=1).performance().save(make(tmp_path / "DECA" / "a.safetensors"))
    random_codes(3, seed=2, first=4).performance().save(tmp_path / "DECA" / "b.safetensors")
    return Actor(tmp_path)


def make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_exported_files_are_those_of_ned(actor: Actor) -> None:
    lines = export_codes(actor.folder)
    assert lines == [f"wrote 7 .pkl files to {actor.performances_folder}"]
    second = random_codes(3, seed=2, first=4)
    with (actor.performances_folder / "000005.pkl").open("rb") as file:
        state = pickle.load(file)  # noqa: S301 - what NED does, on our own file
    assert list(state) == (
        ["shape", "tex", "exp", "pose", "cam", "light", "detail", "tform", "original_size"]
    )
    shapes = {name: state[name].shape for name in list(state)[:7]}
    assert shapes == {
        "shape": (1, 100),
        "tex": (1, 50),
        "exp": (1, 50),
        "pose": (1, 6),
        "cam": (1, 3),
        "light": (1, 9, 3),
        "detail": (1, 128),
    }
    assert all(state[name].dtype == np.float32 for name in shapes)
    np.testing.assert_array_equal(state["exp"][0], second.expression[1])
    assert type(state["tform"]).__name__ == "SimilarityTransform"
    np.testing.assert_array_equal(state["tform"].params, second.transforms[1])
    assert state["tform"].params.dtype == np.float64
    assert state["original_size"] == (256, 256)
    assert [type(side) for side in state["original_size"]] == [int, int]


def test_export_then_import_is_the_identity(actor: Actor) -> None:
    before = load_codes(actor)
    export_codes(actor.folder)
    for path in actor.performances_folder.glob("*.safetensors"):
        path.unlink()
    import_codes(actor.folder)
    files = sorted(path.name for path in actor.performances_folder.glob("*.safetensors"))
    assert files == ["a.safetensors", "b.safetensors"]
    after = load_codes(actor)
    assert after.source == "import"
    for name in (*ARRAYS, "frames", "image_size"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


def test_unknown_parameters_are_written_as_zeros_and_said(actor: Actor) -> None:
    random_codes(4, detail=False).performance().save(actor.performances_folder / "a.safetensors")
    lines = export_codes(actor.folder)
    assert "written as zeros" in lines[1]
    with (actor.performances_folder / "000000.pkl").open("rb") as file:
        state = pickle.load(file)  # noqa: S301
    assert not state["detail"].any()
    assert state["light"].shape == (1, 9, 3)


def test_experiments_go_both_ways(actor: Actor) -> None:
    happy = actor.experiment("happy")
    source = load_codes(actor)
    changed = source.with_manipulated(source.manipulable + 0.5)
    changed.performance().save(make(happy.performances_folder / "all.safetensors"))
    export_codes(actor.folder, "happy")
    with (happy.performances_folder / "000002.pkl").open("rb") as file:
        state = pickle.load(file)  # noqa: S301
    assert list(state) == ["exp", "pose"]
    assert np.flatnonzero(state["pose"][0]).tolist() == [3]

    (happy.performances_folder / "all.safetensors").unlink()
    import_codes(actor.folder, "happy")
    again = load_codes(happy)
    np.testing.assert_array_equal(again.manipulable, changed.manipulable)
    np.testing.assert_array_equal(again.camera, source.camera)


def test_sequences_are_kept(tmp_path: Path) -> None:
    actor = Actor(tmp_path, split=2)
    for frame in range(6):
        make(actor.frame_file("images", frame)).write_bytes(b"")
    random_codes(6).performance().save(make(tmp_path / "DECA" / "a.safetensors"))
    export_codes(tmp_path)
    assert (tmp_path / "DECA" / "000002" / "000005.pkl").is_file()
    (tmp_path / "DECA" / "a.safetensors").unlink()
    import_codes(tmp_path)
    assert len(FlameCodes.of(Performance.load(tmp_path / "DECA" / "imported.safetensors"))) == 6


class Attack:
    def __init__(self, target: Path) -> None:
        self.command = f"touch {target}"

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def test_hostile_pickles_run_nothing(
    actor: Actor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export_codes(actor.folder)
    victim = tmp_path / "ran"
    (actor.performances_folder / "000003.pkl").write_bytes(pickle.dumps(Attack(victim)))
    before = {path: path.read_bytes() for path in actor.performances_folder.glob("*.safetensors")}
    assert main(["import", str(actor.folder)]) == 1
    message = capsys.readouterr().err
    assert message.startswith("ned: error:") and message.count("\n") == 1
    assert "000003.pkl" in message and "system" in message
    assert not victim.exists()
    assert before == {p: p.read_bytes() for p in actor.performances_folder.glob("*.safetensors")}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"exp": np.zeros((1, 49), np.float32)}, "'exp' is"),
        ({"pose": np.full((1, 6), np.nan)}, "no numbers"),
        ({"tform": 3}, "'tform' is not"),
        ({"original_size": (1, 2, 3)}, "'original_size'"),
    ],
)
def test_wrong_values_are_named(actor: Actor, change: dict[str, object], said: str) -> None:
    export_codes(actor.folder)
    path = actor.performances_folder / "000001.pkl"
    state = pickle.loads(path.read_bytes())  # noqa: S301
    path.write_bytes(pickle.dumps({**state, **change}))
    with pytest.raises(InputError, match=said) as caught:
        import_codes(actor.folder)
    assert "000001.pkl" in str(caught.value)


def test_nothing_to_export_or_import(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no face parameters"):
        export_codes(tmp_path)
    with pytest.raises(InputError, match=r"no \.pkl files"):
        import_codes(tmp_path)


def test_other_codes_are_not_mixed_in(actor: Actor) -> None:
    export_codes(actor.folder)
    random_codes(4).performance().save(actor.performances_folder / "other.safetensors")
    with pytest.raises(InputError, match="move it away"):
        import_codes(actor.folder)
    with pytest.raises(InputError, match="hold the same frames"):
        load_codes(actor)
