"""Links: whoever can write into a folder cannot make us write elsewhere."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from http.client import HTTPMessage
from pathlib import Path

import numpy as np
import pytest
from acted_faces import acted
from made_up_films import make_video

from deca.rig import load_rig
from ned.core.errors import InputError, OutputError
from ned.core.files import download
from ned.core.files.assets import all_assets
from ned.core.files.frame_files import FileWriter
from ned.core.files.jobs import Job, run_all
from ned.core.files.partial import append_text, publish_bytes
from ned.core.files.records import Record, write_atomically
from ned.core.film.clip import Clip
from ned.core.film.image_files import write_image
from ned.evaluation.study import make_study
from ned.evaluation.tables import write_rows, write_text
from renderer.training_page import HeldOutSample, TrainingPage

pytestmark = pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="no links")
BLACK = np.zeros((8, 8, 3), np.uint8)


def picture(path: Path) -> None:
    with FileWriter() as writer:
        writer.png(path, BLACK)


def numbers(path: Path) -> None:
    with FileWriter() as writer:
        writer.numbers(path, np.zeros((2, 2)))


def page(path: Path) -> None:
    sample = HeldOutSample(1, 5, 20.0, [3], [np.moveaxis(BLACK, 2, 0)], [BLACK], [BLACK])
    TrainingPage(path.parent).add(sample)


def tensors(path: Path) -> None:
    pytest.importorskip("torch")
    from renderer.neural.checkpoints import save_tensors

    save_tensors(path, {"epoch": 1})


def units(count: int) -> np.ndarray:
    return np.zeros((count, len(load_rig())), np.float32)


WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "bytes": ("a.bin", lambda path: publish_bytes(path, b"new")),
    "record": ("record.json", lambda path: Record(path).save()),
    "atomically": ("a.txt", lambda path: write_atomically(path, b"new")),
    "picture": ("a.png", lambda path: write_image(path, BLACK)),
    "frame": ("000001.png", picture),
    "numbers": ("000001.txt", numbers),
    "performance": ("a.safetensors", lambda path: acted(units(2)).save(path)),
    "track": ("track.safetensors", lambda path: acted(units(2)).track.save(path)),
    "page": ("index.html", page),
    "page's state": ("looks.json", page),
    "page's picture": ("step_0000005.png", page),
    "text": ("report.html", lambda path: write_text(path, "new")),
    "table": ("scores.csv", lambda path: write_rows(path, ["a"], [[1]])),
    "checkpoint": ("latest_net_G.pth", tensors),
}


@pytest.mark.parametrize("name", WRITERS)
def test_links_are_replaced_not_followed(name: str, tmp_path: Path) -> None:
    file, write = WRITERS[name]
    precious, path = tmp_path / "precious", tmp_path / "out" / file
    precious.write_text("mine")
    path.parent.mkdir()
    for planted in (path, path.with_name(f".{file}.partial"), path.with_name(f"{file}.partial")):
        planted.symlink_to(precious)
    write(path)
    assert precious.read_text() == "mine"
    assert path.is_file() and not path.is_symlink()


def test_logs_do_not_grow_elsewhere(tmp_path: Path) -> None:
    precious, log = tmp_path / "precious", tmp_path / "loss_log.txt"
    precious.write_text("mine")
    log.symlink_to(precious)
    with pytest.raises(OutputError, match=r"loss_log\.txt"):
        append_text(log, "more")
    assert precious.read_text() == "mine"
    log.unlink()
    os.mkfifo(log)
    with pytest.raises(OutputError, match="no regular file"):
        append_text(log, "more")
    log.unlink()
    append_text(log, "one\n")
    append_text(log, "two\n")
    assert log.read_text() == "one\ntwo\n"


def test_manifests_do_not_grow_elsewhere(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "manifest.jsonl").symlink_to(precious)
    with pytest.raises(OutputError, match=r"manifest\.jsonl"):
        run_all(lambda: None, [Job("a", "h", {}, ())], tmp_path / "manifest.jsonl")
    assert precious.read_text() == "mine"


def test_downloads_do_not_grow_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Answer(io.BytesIO):
        status, headers = 200, HTTPMessage()

    monkeypatch.setattr(download, "_opened", lambda url, headers: Answer(b"new"))
    precious, part = tmp_path / "precious", tmp_path / "a.part"
    asset = next(row for row in all_assets() if row.access == "free")
    download._transfer("https://a", part, lambda done, total: None, asset)
    assert part.read_bytes() == b"new"
    part.unlink()
    part.symlink_to(precious)
    for left in ("", "mine"):
        precious.write_text(left)
        with pytest.raises(OutputError, match=r"a\.part"):
            download._transfer("https://a", part, lambda done, total: None, asset)
        assert precious.read_text() == left


def test_a_study_is_not_made_elsewhere(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "rating"
    (elsewhere / "clips").mkdir(parents=True)
    (elsewhere / "clips" / "mine.mp4").write_text("mine")
    folder.mkdir()
    (folder / ".study.partial").symlink_to(elsewhere, target_is_directory=True)
    film = make_video(tmp_path / "a.mp4", 3)
    make_study(folder, {"ned": {"a": film}}, {"a": film})
    assert (folder / "study" / "index.html").is_file()
    assert sorted(one.name for one in elsewhere.rglob("*")) == ["clips", "mine.mp4"]


# What is no file


@pytest.mark.parametrize("name", ["fifo", "folder", "device"])
def test_endless_sources_are_not_waited_for(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    if name == "fifo":
        os.mkfifo(path)
    elif name == "folder":
        path.mkdir()
    else:
        path = Path("/dev/zero")
    with pytest.raises(InputError) as caught:
        Clip.open(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".png", ".txt", ".ffconcat"])
def test_lists_that_name_themselves_or_secrets_open_nothing(suffix: str, tmp_path: Path) -> None:
    make_video(tmp_path / "a.ts", 3)
    name = f"list{suffix}"
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n"
    for text in (
        f"{head}#EXTINF:5,\n{name}\n#EXT-X-ENDLIST\n",
        f"{head}#EXTINF:5,\na.ts\n",  # without an end: to be asked for again for ever
        f"{head}#EXTINF:5,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile {name}\n",
        "ffconcat version 1.0\nfile a.ts\nfile a.ts\n",
        '<?xml version="1.0"?><MPD><BaseURL>a.ts</BaseURL></MPD>',
        "a%d.ts",
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError) as caught:
            Clip.open(tmp_path / name)
        assert "\n" not in str(caught.value) and "passwd" not in str(caught.value)
