"""The actor folder: names, order, sequences; records, locks and files that appear whole."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from ned.core.errors import InputError, OutputError
from ned.core.face.track import Track
from ned.core.files.actor import KINDS, Actor
from ned.core.files.records import (
    Record,
    content_hash,
    fingerprint,
    locked,
    sweep,
    write_atomically,
)


def folder_with(tmp_path: Path, *names: str) -> Path:
    (tmp_path / "videos").mkdir()
    for name in names:
        (tmp_path / "videos" / name).write_bytes(name.encode())
    return tmp_path


def test_videos_of_many_kinds_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "b.mp4", "a.MOV", "c.mkv", "b.txt", ".hidden.mp4", "notes.md")
    assert [path.name for path in Actor.open(folder).videos] == ["a.MOV", "b.mp4", "c.mkv"]


@pytest.mark.parametrize(
    ("names", "said"),
    [((), "holds no video"), (("a.txt",), "holds no video"), (("a.mp4", "a.mov"), "rename one")],
)
def test_folders_without_usable_videos(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        _ = Actor.open(folder_with(tmp_path, *names)).videos


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Actor.open(tmp_path / "nobody")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is not a folder"):
        Actor.open(tmp_path / "file")
    with pytest.raises(InputError, match="no folder 'videos'"):
        _ = Actor.open(tmp_path).videos


def test_frame_files_flat_and_in_sequences(tmp_path: Path) -> None:
    flat, split = Actor(tmp_path), Actor(tmp_path, split=50)
    assert flat.frame_file("images", 7) == tmp_path / "images" / "000007.png"
    assert split.frame_file("masks", 149) == tmp_path / "masks" / "000002" / "000149.png"
    assert split.frame_file("eye_landmarks", 150).name == "000150.txt"
    assert split.frame_pickle(50) == tmp_path / "DECA" / "000001" / "000050.pkl"
    assert (flat.kept(149), split.kept(149), split.kept(150)) == (149, 100, 150)
    with pytest.raises(ValueError, match="is not one of"):
        flat.frame_file("pictures", 0)


@pytest.mark.parametrize("split", [None, 10])
def test_files_are_found_again(tmp_path: Path, split: int | None) -> None:
    actor = Actor(tmp_path, split)
    for frame in (3, 11, 19, 12):
        write_atomically(actor.frame_file("images", frame), b"x")
    (tmp_path / "images" / "notes.png").write_bytes(b"")
    assert list(actor.frames("images")) == [3, 11, 12, 19]
    assert actor.frames("images")[11] == actor.frame_file("images", 11)
    assert actor.frames("masks") == {}


def test_sequences_are_recognised(tmp_path: Path) -> None:
    for frame in range(20):
        write_atomically(Actor(tmp_path, 10).frame_file("images", frame), b"x")
    assert Actor.open(tmp_path).split == 10


@pytest.mark.parametrize("name", ["", "a/b", "..", ".ned", "videos", "DECA", *KINDS])
def test_experiments_cannot_take_other_folders(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="experiment"):
        Actor(tmp_path).experiment(name)


def test_experiments_have_the_same_folders(tmp_path: Path) -> None:
    happy = Actor(tmp_path).experiment("happy")
    assert happy.frame_file("nmfcs", 0) == tmp_path / "happy" / "nmfcs" / "000000.png"


def test_fingerprints_depend_on_values_alone() -> None:
    assert fingerprint(a=1, b=[2, 3]) == fingerprint(b=[2, 3], a=1)
    assert fingerprint(a=1) != fingerprint(a=2)


def test_records_know_a_video_by_its_content(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(b"one")
    record = Record.load(tmp_path / ".ned" / "a.json")
    first = record.source_hash(video)
    assert first == content_hash(video)
    record.begin({"images": "h"})
    record.finish({"images"})

    again = Record.load(record.path)
    assert (again.made, again.done) == ({"images": "h"}, {"images"})
    os.utime(video, (1, 1))
    assert again.source_hash(video) == first  # touched, not changed
    video.write_bytes(b"two")
    assert again.source_hash(video) != first
    again.begin({"images": "i"})
    assert "images" not in Record.load(record.path).done
    record.path.write_text("{ damaged")
    assert Record.load(record.path).made == {}


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        locked(tmp_path / ".ned" / "lock", tmp_path),
        pytest.raises(OutputError, match="by another process"),
        locked(tmp_path / ".ned" / "lock", tmp_path),
    ):
        pass
    with locked(tmp_path / ".ned" / "lock", tmp_path):
        pass
    assert list((tmp_path / ".ned").iterdir()) == []


def test_files_are_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "images" / "000000.png"
    write_atomically(target, b"first")

    def full(file: int, data: bytes) -> None:
        os.write(file, data[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ned.core.files.partial.write_all", full)
    with pytest.raises(OutputError, match="No space left"):
        write_atomically(target, b"second")
    assert target.read_bytes() == b"first"
    assert [path.name for path in target.parent.iterdir()] == ["000000.png"]


def test_leftovers_are_swept(tmp_path: Path) -> None:
    write_atomically(tmp_path / "images" / "000000.png", b"x")
    (tmp_path / "images" / ".000001.png.partial").write_bytes(b"half")
    sweep(tmp_path / "images")
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["000000.png"]


def test_tracks_come_back(tmp_path: Path) -> None:
    track = Track.empty(3, (640, 480))
    points = np.random.default_rng(0).uniform(100, 300, (478, 3)).astype(np.float32)
    track.set_landmarks(1, points)
    track.confidence[1] = 0.5
    track.save(tmp_path / "t.safetensors")
    again = Track.load(tmp_path / "t.safetensors")
    assert again.size == (640, 480)
    np.testing.assert_array_equal(again.present, [False, True, False])
    np.testing.assert_array_equal(again.landmarks(1, 2), track.landmarks(1, 2))
    (tmp_path / "t.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="not a track"):
        Track.load(tmp_path / "t.safetensors")
