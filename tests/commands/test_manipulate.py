"""`ned manipulate`: checkpoints, experiments on both faces, what stays, and bad input."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from acted_faces import acted, units_from
from flame_files import write_flame_files
from made_up_codes import flame_codes
from numpy.typing import NDArray

import manipulator.test
from deca.flame import load_flame
from deca.flame_codes import FlameCodes
from deca.rig import load_rig
from manipulator.checkpoints import (
    Manipulator,
    find_checkpoint,
    list_checkpoints,
    load_manipulator,
    save_manipulator,
)
from manipulator.flame_lock import FlameLock
from manipulator.networks import NED, NETWORKS, RIG, Networks
from manipulator.speech_lock import SpeechLock
from manipulator.translation import label_styles, shared_wishes, translate_values
from ned.cli import main
from ned.commands.manipulate import manipulate
from ned.core.errors import AssetError, InputError
from ned.core.face.performance import Performance
from ned.options.manipulate import ManipulateOptions

pytestmark = pytest.mark.usefixtures("one_thread")


def directed_codes(path: Path) -> FlameCodes:
    """FLAME codes as an experiment directs them; as they are without one."""
    performance = Performance.load(path)
    return FlameCodes.of(performance, performance.shown)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints in NED's layout, with new weights."""
    folder = tmp_path_factory.mktemp("published")
    networks = Networks(NED).initialise(0)
    torch.save(
        {name: getattr(networks, name).state_dict() for name in NETWORKS}, folder / "02_nets.pth"
    )
    return folder


@pytest.fixture(scope="session")
def for_rig(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint for the rig."""
    folder = tmp_path_factory.mktemp("for_rig")
    save_manipulator(rig_manipulator(), folder / "01_nets.safetensors")
    return folder


def rig_manipulator() -> Manipulator:
    rig = load_rig()
    networks = Networks(RIG).initialise(0).eval()
    with torch.no_grad():
        last: Any = networks.generator.seq2[-1]
        last.weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    ones = np.ones(len(rig), np.float32)
    return Manipulator(networks, "rig", rig.names, 0.1 * ones, 0.3 * ones, {"seed": 0})


@pytest.fixture
def flame_actor(tmp_path: Path) -> Path:
    """An actor with two clips, one of them shorter than a window."""
    folder = tmp_path / "actor"
    (folder / "DECA").mkdir(parents=True)
    flame_codes(24).performance().save(folder / "DECA" / "long.safetensors")
    flame_codes(5, 1, 24).performance().save(folder / "DECA" / "short.safetensors")
    return folder


@pytest.fixture
def rig_actor(tmp_path: Path) -> Path:
    """An actor with one clip of the rig's units."""
    folder = tmp_path / "rig_actor"
    (folder / "DECA").mkdir(parents=True)
    units = np.random.default_rng(0).uniform(0, 0.6, (20, len(load_rig()))).astype(np.float32)
    acted(units).save(folder / "DECA" / "clip.safetensors")
    return folder


def test_neds_checkpoints_load_strictly(published: Path, tmp_path: Path) -> None:
    manipulator = load_manipulator(published / "02_nets.pth")
    assert manipulator.face_model == "flame" and manipulator.settings == NED
    wanted = Networks(NED).initialise(0).state_dict()
    found = manipulator.networks.state_dict()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    state = torch.load(published / "02_nets.pth", weights_only=True)
    state["generator"]["seq1.0.weight"] = torch.zeros(512, 66)
    torch.save(state, tmp_path / "03_nets.pth")
    with pytest.raises(AssetError, match=r"seq1\.0\.weight \(512, 66\), needs \(512, 67\)"):
        load_manipulator(tmp_path / "03_nets.pth")
    del state["style_encoder"]
    torch.save(state, tmp_path / "04_nets.pth")
    with pytest.raises(AssetError, match="has no style_encoder"):
        load_manipulator(tmp_path / "04_nets.pth")
    state["style_encoder"] = {"odd.weight": torch.zeros(1)}
    torch.save({**state, "generator": {}}, tmp_path / "05_nets.pth")
    with pytest.raises(AssetError, match=r"Generator: misses seq1\.0\.weight"):
        load_manipulator(tmp_path / "05_nets.pth")


def test_our_checkpoints_tell_what_they_are_for(for_rig: Path) -> None:
    path = for_rig / "01_nets.safetensors"
    manipulator = load_manipulator(path)
    assert manipulator.face_model == "rig" and manipulator.settings == RIG
    assert manipulator.unit_names == load_rig().names and manipulator.record == {"seed": 0}
    assert np.allclose(manipulator.mean, 0.1) and np.allclose(manipulator.spread, 0.3)
    assert path.stat().st_size < 6_500_000  # with the discriminator, which need not ship


def test_epochs_are_found_and_listed(tmp_path: Path) -> None:
    for name in ("01_nets.pth", "02_nets.pth", "02_nets_finetuned.pth", "02_nets.safetensors", "x"):
        (tmp_path / name).touch()
    assert [one.path.name for one in list_checkpoints(tmp_path)] == [
        *("01_nets.pth", "02_nets.safetensors", "02_nets_finetuned.pth")
    ]
    assert find_checkpoint(tmp_path, "1").name == "01_nets.pth"
    assert find_checkpoint(tmp_path, "02").name == "02_nets_finetuned.pth"
    assert find_checkpoint(tmp_path).name == "02_nets_finetuned.pth"
    with pytest.raises(InputError, match="has no epoch 7; --which_epoch can be 1, 2 or latest"):
        find_checkpoint(tmp_path, "7")


def test_flame_clips_become_an_experiment(
    flame_actor: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("manipulator/test.py", "--celeb", flame_actor, "--checkpoints_dir", published)
    more = ("--trg_emotions", "happy", "angry", "--exp_name", "both", "--which_epoch", "2")
    monkeypatch.setattr(sys, "argv", [*map(str, words), *more, "--gpu_ids", "-1"])
    assert manipulator.test.main() == 0
    loaded = load_manipulator(published / "02_nets.pth")
    styles = label_styles(loaded.networks, 0)[[4, 1]]
    for name in ("long", "short"):
        source = directed_codes(flame_actor / "DECA" / f"{name}.safetensors")
        result = directed_codes(flame_actor / "both" / "DECA" / f"{name}.safetensors")
        wishes = shared_wishes(styles, len(source))
        wanted = translate_values(source.manipulable, wishes, loaded)
        np.testing.assert_allclose(result.manipulable, wanted, atol=1e-5)
        assert np.abs(result.expression - source.expression).max() > 0.05
        changed = {"expression", "pose"}
        for field in dataclasses.fields(FlameCodes):
            if field.name not in changed and getattr(source, field.name) is not None:
                assert np.all(getattr(result, field.name) == getattr(source, field.name))
        others = [0, 1, 2, 4, 5]
        assert np.array_equal(result.pose[:, others], source.pose[:, others])
    record = json.loads((flame_actor / "both" / ".ned" / "manipulation.json").read_text())
    assert record["checkpoint"]["name"] == "02_nets.pth" and record["options"]["seed"] == 0


def test_the_rigs_words_stay(rig_actor: Path, for_rig: Path) -> None:
    options = ManipulateOptions(rig_actor, for_rig, trg_emotions=("happy:0.6+surprised:0.4",))
    manipulate(options)
    source = Performance.load(rig_actor / "DECA" / "clip.safetensors")
    result = Performance.load(rig_actor / "exp" / "DECA" / "clip.safetensors")
    assert result.directed is not None and np.array_equal(result.units, source.units)
    change = result.directed - source.units
    lock = SpeechLock(load_rig())
    assert np.abs(change).max() > 0.05 and not change[:, lock.jaw].any()
    assert np.abs(change @ lock.functionals.T).max() < 1e-4
    manipulate(dataclasses.replace(options, freeze="jaw", exp_name="jaw"))
    jaw = Performance.load(rig_actor / "jaw" / "DECA" / "clip.safetensors").directed
    assert jaw is not None and not (jaw - source.units)[:, lock.jaw].any()
    assert np.abs((jaw - source.units) @ lock.functionals.T).max() > 1e-3


def test_intensity_zero_and_source_leave_a_clip_as_it_was(rig_actor: Path, for_rig: Path) -> None:
    source = Performance.load(rig_actor / "DECA" / "clip.safetensors")
    options = ManipulateOptions(rig_actor, for_rig, trg_emotions=("happy",))
    for change in (
        {"intensity": 0.0},
        {"trg_emotions": ("source",)},
        {"trg_emotions": (), "timeline": "0:happy:0"},
    ):
        manipulate(dataclasses.replace(options, **change))
        result = Performance.load(rig_actor / "exp" / "DECA" / "clip.safetensors")
        assert result.directed is not None and np.array_equal(result.directed, source.units)


def test_seeds_references_and_timelines_make_a_difference(rig_actor: Path, for_rig: Path) -> None:
    options = ManipulateOptions(rig_actor, for_rig, trg_emotions=("happy",))

    def result(**change: Any) -> NDArray[np.float32]:
        manipulate(dataclasses.replace(options, **change))
        path = rig_actor / "exp" / "DECA" / "clip.safetensors"
        directed = Performance.load(path).directed
        assert directed is not None
        return directed

    plain = result()
    assert np.array_equal(plain, result())
    assert not np.array_equal(plain, result(seed=1))
    assert not np.array_equal(plain, result(trg_emotions=("sad",)))
    reference = result(trg_emotions=(), ref_dirs=(rig_actor,))
    assert not np.array_equal(plain, reference)
    source = Performance.load(rig_actor / "DECA" / "clip.safetensors").units
    timed = result(trg_emotions=(), timeline="0.7:happy")
    assert np.array_equal(timed[:8], source[:8]) and not np.array_equal(timed[-3:], source[-3:])


def test_blinks_stay_blinks_and_closing_lips_take_less(tmp_path: Path, for_rig: Path) -> None:
    rig, count = load_rig(), 60
    frames = np.arange(count)
    blink = np.exp(-(((frames - 30) / 2.5) ** 2))
    curves = {"lid_close": 1.4 * blink, "pucker": np.where(frames < 20, 0.8, 0.0)}
    source = acted(units_from(rig, count, curves))
    (tmp_path / "DECA").mkdir()
    source.save(tmp_path / "DECA" / "clip.safetensors")
    options = ManipulateOptions(tmp_path, for_rig, trg_emotions=("happy",))

    def change(**wishes: Any) -> NDArray[np.float32]:
        manipulate(dataclasses.replace(options, **wishes))
        directed = Performance.load(tmp_path / "exp" / "DECA" / "clip.safetensors").directed
        assert directed is not None
        return np.abs(directed - source.units)

    kept, free = change(), change(freeze="none")
    lids = [
        column
        for unit in ("upper_lid_raise", "lid_close", "lid_tighten", "cheek_raise")
        for column in rig.columns(unit)
    ]
    assert kept[30, lids].max() < 1e-3 < 0.02 < min(kept[50, lids].max(), free[30, lids].max())
    lock = SpeechLock(rig)
    pout, rest = slice(5, 15), slice(45, 55)
    shares = [
        kept[part][:, lock.mouth].mean() / free[part][:, lock.mouth].mean() for part in (pout, rest)
    ]
    assert shares[0] < 0.8 * shares[1]


def test_other_frame_rates_are_asked_for_the_same(tmp_path: Path, for_rig: Path) -> None:
    rig = load_rig()

    def directed(rate: float, **wishes: Any) -> tuple[Performance, NDArray[np.float32]]:
        folder = tmp_path / f"{rate:g}"
        (folder / "DECA").mkdir(parents=True, exist_ok=True)
        times = np.arange(round(2 * rate)) / rate
        wave = 0.4 + 0.3 * np.sin(2 * np.pi * times)
        curves = {"jaw_open": wave, "inner_brow_raise": 0.5 * wave, "corner_pull": 0.3 * wave}
        clip = acted(units_from(rig, len(times), curves))
        clip.track.times[:] = times
        clip.save(folder / "DECA" / "clip.safetensors")
        wishes = {"trg_emotions": ("happy",), "edges": "averaged", **wishes}
        manipulate(ManipulateOptions(folder, for_rig, **wishes))
        found = Performance.load(folder / "exp" / "DECA" / "clip.safetensors").directed
        assert found is not None
        return clip, found - clip.units

    usual, wanted = directed(25)
    for rate in (50, 60):
        clip, change = directed(rate)
        near = np.stack([np.interp(usual.times, clip.times, column) for column in change.T], 1)
        assert np.abs(near - wanted)[3:-3].mean() < 0.1 * np.abs(wanted).mean()
        untouched = directed(rate, trg_emotions=("source",))[1]
        assert not untouched.any()
        late = directed(rate, trg_emotions=(), timeline="1:happy")[1]
        assert not late[: int(0.6 * rate)].any() and late[-5:].any()


def test_the_flame_lock_keeps_the_lips_open_as_far(tmp_path: Path) -> None:
    files = write_flame_files(tmp_path)
    flame = load_flame(files.flame, files.landmarks, files.mediapipe)
    lock, generator = FlameLock(flame), np.random.default_rng(0)
    codes = flame_codes(8)
    change = generator.normal(size=(8, 50)).astype(np.float32)
    kept = lock.apply(change, codes.pose[:, 3:])

    def openings(expression: NDArray[np.float32]) -> NDArray[np.float64]:
        pose = codes.pose.copy()
        pose[:, :3] = 0
        with torch.no_grad():
            given = (codes.shape, expression, pose)
            mesh = flame.double()(*(torch.from_numpy(v).double() for v in given))
            points = flame.mediapipe(mesh.vertices)
        lips = mesh.landmarks3d[:, [61, 62, 63], 1] - mesh.landmarks3d[:, [67, 66, 65], 1]
        row = {int(p): k for k, p in enumerate(flame.mediapipe_points)}
        middle = points[:, row[13], 1] - points[:, row[14], 1]
        chin = mesh.landmarks3d[:, 8, 1]
        return torch.cat([lips, middle[:, None], chin[:, None]], 1).numpy()

    before = openings(codes.expression)
    free = np.abs(openings(codes.expression + change) - before)
    locked = np.abs(openings(codes.expression + kept) - before)
    assert free.max() > 3e-4 and locked.max() < 1e-7
    assert np.linalg.norm(kept) > 0.2 * np.linalg.norm(change)
    np.testing.assert_array_equal(lock.apply(change, codes.pose[:, 3:], 0), change)


def test_a_frozen_mouth_of_flame_needs_flames_files(
    flame_actor: Path, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NED_ASSETS", str(tmp_path / "assets"))
    options = ManipulateOptions(flame_actor, published, trg_emotions=("happy",), freeze="mouth")
    with pytest.raises(AssetError, match="FLAME"):
        manipulate(options)
    files = write_flame_files(tmp_path / "assets")
    assert files.flame.is_file()
    manipulate(options)
    source = directed_codes(flame_actor / "DECA" / "long.safetensors")
    result = directed_codes(flame_actor / "exp" / "DECA" / "long.safetensors")
    assert np.array_equal(source.pose, result.pose)
    rows = FlameLock(load_flame(files.flame, files.landmarks)).functionals(source.pose[:, 3:])
    change = result.expression - source.expression
    assert np.abs(change).max() > 0.05
    assert np.abs(np.einsum("tfe,te->tf", rows, change)).max() < 1e-6


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--trg_emotions cheerful", "unknown emotion 'cheerful'"),
        ("--trg_emotions happy --which_epoch 9", "has no epoch 9; --which_epoch can be 2"),
        ("--trg_emotions happy --which_epoch two", "--which_epoch is 'two'"),
        ("--trg_emotions happy --checkpoints_dir nowhere", "'nowhere' does not exist"),
        ("--trg_emotions happy --checkpoints_dir {empty}", "holds no manipulator checkpoint"),
        (
            "--trg_emotions happy --checkpoints_dir {for_rig}",
            "holds units of the face model flame, but",
        ),
        ("--trg_emotions happy --ref_dirs {actor}", "--trg_emotions and --ref_dirs given"),
        ("--timeline happy", "not a key"),
        ("", "none given; give one of --trg_emotions"),
        ("--trg_emotions happy --exp_name DECA", "is a folder of the actor's own"),
        ("--trg_emotions happy --intensity 3", "--intensity is 3"),
        ("--trg_emotions happy --gpu_ids x", "--gpu_ids is 'x'"),
        ("--ref_dirs {empty}", "holds no face parameters"),
    ],
)
def test_bad_input_is_told_in_one_line(
    words: str,
    complaint: str,
    flame_actor: Path,
    published: Path,
    for_rig: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"actor": flame_actor, "for_rig": for_rig, "empty": tmp_path / "empty"}
    given = words.format(**places).split()
    if "--checkpoints_dir" not in given:
        given += ["--checkpoints_dir", str(published)]
    assert main(["manipulate", "--celeb", str(flame_actor), *given]) == 1
    said = capsys.readouterr().err
    assert complaint in said and said.count("\n") == 1
    assert sorted(path.name for path in flame_actor.iterdir()) == ["DECA"]


def test_neds_weights_are_not_for_the_rig(
    rig_actor: Path, published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--checkpoints_dir", str(published), "--trg_emotions", "happy"]
    assert main(["manipulate", "--celeb", str(rig_actor), *words]) == 1
    said = capsys.readouterr().err
    assert "holds units of the face model rig, but" in said and "is for flame;" in said


def test_damaged_checkpoints_are_refused(published: Path, tmp_path: Path) -> None:
    data = (published / "02_nets.pth").read_bytes()
    (tmp_path / "01_nets.pth").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="not a complete checkpoint"):
        load_manipulator(tmp_path / "01_nets.pth")


OWN = "emotions: {smug: {variants: [{name: a, units: {dimple_left: 0.9, jaw_open: 0.5}}]}}"


def test_own_emotions_are_directed_by_rules(rig_actor: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(OWN, encoding="utf-8")
    options = ManipulateOptions(
        rig_actor, trg_emotions=("smug", "anger"), emotions=tmp_path / "mine.yaml", exp_name="own"
    )
    manipulate(options)
    rig = load_rig()
    left, right = (rig.index[f"dimple_{side}"] for side in ("left", "right"))
    source = Performance.load(rig_actor / "DECA" / "clip.safetensors")

    def change(name: str) -> np.ndarray:
        directed = Performance.load(rig_actor / name / "DECA" / "clip.safetensors").directed
        assert directed is not None
        return (directed - source.units)[: len(source) // 3]  # the smug part

    kept = change("own")
    assert kept[:, left].mean() > kept[:, right].mean() + 0.1
    assert not kept[:, SpeechLock(rig).jaw].any()
    manipulate(dataclasses.replace(options, freeze="none", exp_name="free"))
    assert np.abs(change("free")[:, rig.index["jaw_open"]]).max() > 0.1
    record = json.loads((rig_actor / "own" / ".ned" / "manipulation.json").read_text())
    assert record["own_emotions"]["name"] == "mine.yaml" and record["checkpoint"] is None
    assert "smug" in record["emotions"]


def test_own_emotions_need_the_rig_and_no_networks(
    flame_actor: Path, for_rig: Path, tmp_path: Path
) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text(OWN, encoding="utf-8")
    with pytest.raises(InputError, match="--emotions direct the rig only"):
        manipulate(ManipulateOptions(flame_actor, trg_emotions=("smug",), emotions=own))
    with pytest.raises(InputError, match="--emotions and --checkpoints_dir given"):
        ManipulateOptions(flame_actor, for_rig, trg_emotions=("smug",), emotions=own)
    assert not (flame_actor / "exp").exists()
