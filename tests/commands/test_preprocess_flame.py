"""The staged road with FLAME: fitted to landmarks, and by DECA's networks with made-up weights."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_talking_clip
from flame_files import write_flame_files
from numpy.typing import NDArray
from places import ROOT

import ned.commands.preprocess
from deca.flame_models import DecaModel, FlameFitModel
from deca.flame_pickles import export_codes, import_codes, load_codes
from ned.commands.preprocess import preprocess
from ned.core.errors import AssetError, OutputError
from ned.core.face.performance import Performance
from ned.core.face.track import Track
from ned.core.files.actor import Actor
from ned.core.files.records import Record
from ned.core.film.image_files import read_image, read_mask
from ned.options.preprocess import PreprocessOptions
from preprocessing.actor_video import open_reels


@pytest.fixture(scope="session")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of made-up FLAME files and a deca_model.tar of the real size, random but calm."""
    torch = pytest.importorskip("torch")
    from deca.detail import DetailDecoder
    from deca.encoder import Encoder

    folder = tmp_path_factory.mktemp("assets")
    write_flame_files(folder)
    torch.manual_seed(0)
    coarse, detail, decoder = Encoder(236), Encoder(128), DetailDecoder()
    with torch.no_grad():
        coarse.layers[2].weight *= 0.02
        coarse.layers[2].bias.zero_()
        coarse.layers[2].bias[206] = 8.0  # a head that fills the crop
    networks = {"E_flame": coarse, "E_detail": detail, "D_detail": decoder}
    states = {name: network.state_dict() for name, network in networks.items()}
    torch.save(states, folder / "deca_model.tar")
    return folder


@pytest.fixture(autouse=True)
def use_assets(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NED_ASSETS", str(assets))


@pytest.fixture
def actor(portrait: NDArray[np.uint8], tmp_path: Path) -> Actor:
    """Two clips of three and two frames."""
    (tmp_path / "actor" / "videos").mkdir(parents=True)
    for name, seconds in (("a", 0.12), ("b", 0.08)):
        path = tmp_path / "actor" / "videos" / f"{name}.mp4"
        write_talking_clip(path, portrait, seconds, (240, 240))
    return Actor(tmp_path / "actor")


def run(actor: Actor, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["./preprocess.sh", str(actor.folder), *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
    )


@pytest.mark.parametrize("mode", ["test", "train", "reference"])
def test_flame_is_fitted_where_the_face_is(actor: Actor, mode: str) -> None:
    from deca.crop import image_points_from_ndc
    from deca.reconstruction import project

    options = PreprocessOptions(actor.folder, mode, reconstructor="flame-fit", split=5)
    preprocess(options)
    actor = Actor.open(actor.folder)
    codes = load_codes(actor)
    assert codes.frames.tolist() == list(range(5)) and codes.source == "flame-fit"
    assert (actor.folder / "nmfcs_aligned").is_dir() == (mode != "reference")
    assert not codes.transforms[:, 2, :2].any()
    np.testing.assert_array_equal(codes.image_size, 256)

    decoder = FlameFitModel("cpu").decoder
    landmarks = decoder.decode(codes).landmarks2d
    reels = open_reels(actor)
    from preprocessing.eye_landmarks import landmarks_of_mesh

    for reel in reels:
        rows = np.arange(reel.kept)
        tracked = landmarks_of_mesh(reel.mesh(rows))
        for row in rows:
            frame = reel.frame(row)
            found = image_points_from_ndc(landmarks[frame], codes.transforms[frame])
            apart = np.linalg.norm(found - tracked[row], axis=1)[17:]
            assert np.median(apart) < 6  # of 256 pixels
    assert project(np.zeros((1, 1, 3)), codes.camera[:1]).shape == (1, 1, 3)


def test_deca_in_all_modes(actor: Actor, tmp_path: Path) -> None:
    result = run(actor, "test", "--reconstructor", "deca", "--keep-all")
    assert (result.returncode, result.stderr) == (0, "")
    codes = load_codes(actor)
    assert codes.source == "deca" and codes.frames.tolist() == list(range(5))
    assert codes.detail is not None and codes.detail.any()
    assert {path.name for path in actor.performances_folder.iterdir()} == (
        {"a.safetensors", "b.safetensors"}
    )
    for frame in (0, 4):
        nmfc = read_image(actor.frame_file("nmfcs", frame))
        shape = read_image(actor.frame_file("shapes", frame))
        covered = nmfc.any(2)
        assert 0.05 < covered.mean() < 0.9
        assert shape[covered].mean() > 40 and (shape[..., 0] == shape[..., 2]).all()
        assert read_image(actor.frame_file("nmfcs_aligned", frame)).any()
        assert read_mask(actor.frame_file("masks", frame)).any()
    assert not list((actor.folder / ".ned").glob("*codes*"))

    images = {frame: path.read_bytes() for frame, path in actor.frames("images").items()}
    preprocess(PreprocessOptions(actor.folder, "train", reconstructor="deca", split=5))
    split = Actor.open(actor.folder)
    assert images == {frame: path.read_bytes() for frame, path in split.frames("images").items()}
    np.testing.assert_allclose(load_codes(split).expression, codes.expression, atol=1e-4)

    other = tmp_path / "other"
    shutil.copytree(actor.folder / "videos", other / "videos", ignore=lambda *_: ["a.txt", "b.txt"])
    preprocess(PreprocessOptions(other, "reference", reconstructor="deca"))
    assert {path.name for path in other.iterdir()} == {".ned", "videos", "images", "DECA"}
    np.testing.assert_allclose(load_codes(Actor(other)).pose, codes.pose, atol=1e-4)

    export_codes(other)
    for path in (other / "DECA").glob("*.safetensors"):
        path.unlink()
    import_codes(other)
    np.testing.assert_array_equal(load_codes(Actor(other)).shape, load_codes(Actor(other)).shape)


def test_encoded_chunks_survive_a_failure(actor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ned.commands.preprocess, "_CHUNK", 2)
    encoded: list[list[int]] = []
    original = DecaModel.encode

    def encode(
        self: DecaModel, images: Any, landmarks: Any, track: Track, frames: NDArray[np.int64]
    ) -> Performance:
        if len(encoded) == 1:
            raise OutputError("the disk is full")
        encoded.append(frames.tolist())
        return original(self, images, landmarks, track, frames)

    options = PreprocessOptions(actor.folder, "reference", reconstructor="deca")
    monkeypatch.setattr(DecaModel, "encode", encode)
    with pytest.raises(OutputError, match="disk is full"):
        preprocess(options)
    assert encoded == [[0, 1]]
    assert not actor.performance_file(actor.videos[0]).exists()
    encoded.append([])
    preprocess(options)
    assert encoded[2:] == [[2], [3, 4]]
    assert load_codes(actor).frames.tolist() == list(range(5))
    encoded.clear()
    assert "up to date" in preprocess(options)[0]


def test_another_model_makes_codes_and_drawings_anew(
    actor: Actor, assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = PreprocessOptions(actor.folder, "test", reconstructor="flame-fit")
    preprocess(options)
    record = Record.load(actor.state_file(actor.videos[0], "json"))
    preprocess(PreprocessOptions(actor.folder, "test"))  # the rig
    other = Record.load(record.path)
    changed = {kind for kind in record.made if record.made[kind] != other.made[kind]}
    assert changed == {"codes", "nmfcs_aligned", "shapes_aligned"}
    assert Track.load(actor.state_file(actor.videos[0], "track.safetensors")).present.all()

    copied = tmp_path / "assets"
    shutil.copytree(assets, copied, ignore=shutil.ignore_patterns("deca_model.tar"))
    monkeypatch.setenv("NED_ASSETS", str(copied))
    with pytest.raises(AssetError, match=r"deca_model\.tar is missing"):
        preprocess(PreprocessOptions(actor.folder, "test", reconstructor="deca"))
    (copied / "generic_model.pkl").write_bytes(b"damaged")
    for path in copied.glob("generic_model.safetensors"):
        path.unlink()
    before = sorted(path for path in actor.folder.rglob("*"))
    with pytest.raises((AssetError, ned.commands.preprocess.InputError), match="generic_model"):
        preprocess(PreprocessOptions(actor.folder, "test", reconstructor="flame-fit"))
    assert sorted(path for path in actor.folder.rglob("*")) == before
