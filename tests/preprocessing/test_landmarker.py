"""The Face Landmarker bundle as a tracker, and its blendshapes."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from places import ROOT

from ned.commands.direct import track_actor
from ned.commands.info import info
from ned.core.errors import AssetError
from ned.core.files.assets import add_asset
from ned.core.film.clip import Clip
from ned.options import InfoOptions
from preprocessing.landmarker import Landmarker


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundle, filed among the assets."""
    root = ROOT
    folder = Path(os.environ.get("NED_BUNDLE") or root.parent / "shared" / "assets")
    path = folder / "face_landmarker.task"
    if not path.is_file():
        pytest.skip(f"needs face_landmarker.task in {folder}; set NED_BUNDLE to its folder")
    monkeypatch.setenv("NED_ASSETS", str(tmp_path / "assets"))
    return add_asset(path)[0]


def test_the_bundle_tracks_what_the_mesh_tracks(bundle: Path, talking_clip: Path):
    clip = Clip.open(talking_clip)
    tracks = [track_actor(clip, 0, bundle=each) for each in (None, bundle)]
    first, second = (track.landmarks()[:, :468, :2] for track in tracks)
    apart = np.linalg.norm(first - second, axis=2).mean()
    assert 0 < apart < 0.03 * tracks[0].mean_height


def test_blendshapes_follow_the_mouth(bundle: Path, talking_clip: Path, tmp_path: Path):
    path = tmp_path / "shapes.csv"
    lines = info(InfoOptions(talking_clip, blendshapes=path))
    assert f"  blendshapes: {path}, 50 rows" in lines
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert [int(row["frame"]) for row in rows] == list(range(50))
    values = np.array([[float(v) for v in list(row.values())[3:]] for row in rows])
    assert values.shape == (50, 52) and values.min() >= 0 and values.max() <= 1
    assert np.ptp([float(row["jawOpen"]) for row in rows]) > 0.05


def test_blendshapes_without_the_bundle_are_one_line(
    talking_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NED_ASSETS", str(tmp_path))
    with pytest.raises(AssetError, match="ned assets fetch face-landmarker"):
        info(InfoOptions(talking_clip, blendshapes=tmp_path / "shapes.csv"))
    assert not (tmp_path / "shapes.csv").exists()


@pytest.mark.parametrize("content", [b"", b"no bundle", b"PK\x03\x04 and no more"])
def test_a_damaged_bundle_is_one_line(tmp_path: Path, content: bytes):
    path = tmp_path / "face_landmarker.task"
    path.write_bytes(content)
    with pytest.raises(AssetError, match="is not a Face Landmarker bundle"):
        Landmarker(path)


def test_a_picture_of_nobody_has_no_blendshapes(bundle: Path, portrait: NDArray[np.uint8]):
    from preprocessing.window import Window

    window = Window(centre=(60.0, 60.0), side=100.0, angle=0.0)
    with Landmarker(bundle) as landmarker:
        assert landmarker.blendshapes(np.zeros_like(portrait), window) == {}
        points, presence = landmarker.landmarks(np.zeros_like(portrait), [window])[0]
    assert presence == 0 and points.shape == (478, 3)
