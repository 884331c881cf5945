"""Third-party files: the table, finding, verifying and filing, and downloads that survive cuts."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnx_writer
import pytest

from ned.cli import main
from ned.core.errors import AssetError, InputError, OutputError
from ned.core.files import assets as table
from ned.core.files.asset_checks import check_content
from ned.core.files.assets import (
    Asset,
    add_asset,
    all_assets,
    assets_folder,
    find_asset,
    known_asset,
    require_asset,
)
from ned.core.files.download import fetch_asset


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty assets folder that does not exist yet."""
    chosen = tmp_path / "data" / "assets"
    monkeypatch.setenv("NED_ASSETS", str(chosen))
    return chosen


def npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


GENUINE = {
    "pickle": pickle.dumps({"f": [1, 2, 3]}),
    "torch": archive({"x/data.pkl": b"weights", "x/data/0": b"1234"}),
    "torchscript": archive({"x/code/__torch__.py": b"", "x/data.pkl": b""}),
    "onnx": onnx_writer.identity(("n", 3)),
    "safetensors": (65).to_bytes(8, "little")
    + b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'.ljust(65)
    + bytes(8),
    "npy": npy(np.arange(4)),
    "npz": archive({"MU.npy": npy(np.arange(4))}),
    "task": archive({"face_landmarks_detector.tflite": b"TFL3"}),
    "obj": b"# head\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1/1 2/1 3/1\n",
    "png": b"\x89PNG\r\n\x1a\n" + bytes(30) + b"IEND\xaeB`\x82",
}


def test_table_is_complete_and_downloads_only_free_files_with_sums() -> None:
    names = [asset.name for asset in all_assets()]
    assert len(set(names)) == len(names)
    wanted = "flame flame-landmarks flame-mediapipe-landmarks deca deca-head-template "
    wanted += "deca-displacement deca-uv-mask fsgan-segmentation face-landmarker "
    wanted += "hsemotion sface syncnet lpips fid-inception fvd-i3d ned-manipulator ned-renderer"
    assert set(wanted.split()) <= set(names)
    plain = [name for asset in all_assets() for name in asset.files if "[" not in name]
    assert len(set(plain)) == len(plain), "a file name must mean one asset"
    for asset in all_assets():
        assert asset.kind in GENUINE
        assert "[" not in asset.files[0]
        assert asset.purpose and asset.licence and "http" in asset.source
        assert all(re.fullmatch("[0-9a-f]{64}", known) for known in asset.sha256)
        assert (asset.url is not None) == (asset.access == "free")
        if asset.access == "free":
            assert asset.exact and asset.sha256 and str(asset.url).startswith("https://")


@pytest.mark.parametrize("kind", GENUINE)
def test_content_of_each_kind(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(GENUINE[kind])
    check_content(path, kind)
    for wrong in (
        b"",
        b"\n<!DOCTYPE html>",
        b"version https://git-lfs.github.com/spec",
        b"zzzz" * 9,
    ):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"it (is|holds|was)"):
            check_content(path, kind)


@pytest.mark.parametrize("kind", [kind for kind in GENUINE if kind not in ("npy", "obj")])
def test_truncated_content_is_noticed(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(GENUINE[kind][:-5])
    with pytest.raises(ValueError, match=r"it (is|holds|was)"):
        check_content(path, kind)


def test_missing_asset_says_what_for_licence_and_how_to_get_it() -> None:
    assert find_asset("deca") is None
    with pytest.raises(AssetError) as caught:
        require_asset("deca")
    asset = known_asset("deca")
    for part in ("deca_model.tar", asset.purpose, asset.licence, asset.source, "ned assets add"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(AssetError, match="ned assets fetch sface"):
        require_asset("sface")
    with pytest.raises(InputError, match=r"no asset 'flam'.*flame"):
        find_asset("flam")


def test_folder_defaults_to_the_users_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NED_ASSETS")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert assets_folder() == Path("/data/ned/assets")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/nora")
    assert assets_folder() == Path("/home/nora/.local/share/ned/assets")


def test_added_file_is_found_under_its_own_or_the_usual_name(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "07_nets_finetuned.pth"
    own.write_bytes(GENUINE["torch"])
    assert add_asset(own) == [folder / own.name]
    assert find_asset("ned-manipulator") == folder / own.name
    odd = tmp_path / "my download (1)"
    odd.write_bytes(GENUINE["torch"])
    with pytest.raises(InputError, match="--as NAME"):
        add_asset(odd)
    assert add_asset(odd, "ned-manipulator") == [folder / "02_nets_finetuned.pth"]
    assert find_asset("ned-manipulator") == folder / "02_nets_finetuned.pth"
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_refused_files_leave_nothing_behind(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "deca_model.tar"
    page.write_text("<html>please log in</html>")
    with pytest.raises(AssetError, match=r"web page.*DECA"):
        add_asset(page)
    template = tmp_path / "head_template.obj"
    template.write_bytes(GENUINE["obj"])
    with pytest.raises(AssetError, match=r"45 bytes.*563358.*--unpublished"):
        add_asset(template)
    template.write_bytes(GENUINE["obj"].ljust(563358, b"\n"))
    with pytest.raises(AssetError, match=r"SHA-256.*dd5bfbce"):
        add_asset(template)
    assert list(folder.iterdir()) == []
    assert add_asset(template, unpublished=True) == [folder / "head_template.obj"]
    for wrong in (tmp_path, tmp_path / "nowhere.pkl"):
        with pytest.raises(InputError, match="give a downloaded file"):
            add_asset(wrong)


def test_failed_addition_keeps_the_file_that_was_there(folder: Path, tmp_path: Path) -> None:
    good = tmp_path / "generic_model.pkl"
    good.write_bytes(GENUINE["pickle"])
    add_asset(good)
    good.write_bytes(GENUINE["pickle"][:-1])
    with pytest.raises(AssetError, match="truncated"):
        add_asset(good)
    assert (folder / good.name).read_bytes() == GENUINE["pickle"]


def test_archive_is_looked_through(folder: Path, tmp_path: Path) -> None:
    download = tmp_path / "FLAME2020.zip"
    members = {"FLAME2020/generic_model.pkl": GENUINE["pickle"], "FLAME2020/../../readme": b"x"}
    download.write_bytes(archive(members))
    assert add_asset(download) == [folder / "generic_model.pkl"]
    assert [path.name for path in folder.iterdir()] == ["generic_model.pkl"]
    with pytest.raises(InputError, match="no known asset"):
        add_asset(download, "deca")
    download.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(InputError, match="cannot be read"):
        add_asset(download)


CONTENT = bytes(range(256)) * 2000


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `cut` ends the first answers early, `ranges` false ignores Range, `silent`
    does not tell the length, `moved` is where it sends everybody."""

    daemon_threads = True
    moved: str | None = None
    silent = False
    cut: int | None = None
    ranges = True
    body = CONTENT


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked.group(1)) if asked and server.ranges else 0
        if self.path != "/file":
            self.send_error(404)
            return
        if server.moved is not None:
            self.send_response(302)
            self.send_header("Location", server.moved)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if start >= len(server.body):
            self.send_error(416)
            return
        rest = server.body[start:]
        self.send_response(206 if start else 200)
        if start:
            whole = len(server.body)
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        if not server.silent:
            self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.server.log.append((start, len(rest)))  # type: ignore[attr-defined]
        self.wfile.write(rest if server.cut is None else rest[: server.cut])
        server.cut = None

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Answers) as running:
        running.log = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def served(server: Server, monkeypatch: pytest.MonkeyPatch, **changes: object) -> Asset:
    """An asset of the table that lies on the local server."""
    monkeypatch.setattr("ned.core.files.download.verify_asset", _verify_sum)
    monkeypatch.setattr("ned.core.files.download._SCHEMES", ("http://127.0.0.1",))
    row = {
        "name": "free-one",
        "purpose": "a test",
        "licence": "Apache-2.0",
        "access": "free",
        "source": "https://example.org",
        "files": ("free.bin",),
        "kind": "npy",
        "exact": True,
        "url": f"http://127.0.0.1:{server.server_port}/file",
        "sha256": {hashlib.sha256(CONTENT).hexdigest(): "1"},
    }
    return Asset(**{**row, **changes})  # type: ignore[arg-type]


def _verify_sum(asset: Asset, path: Path, shown: str) -> None:
    """All checks but those of the content, which is made up here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "check_content", lambda path, kind: None)
        table.verify_asset(asset, path, shown)


def test_download(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    amounts: list[tuple[int, int | None]] = []
    asset = served(server, monkeypatch)
    path = fetch_asset(asset, lambda done, total: amounts.append((done, total)))
    assert path == folder / "free.bin"
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in folder.iterdir()] == ["free.bin"]
    assert amounts[-1] == (len(CONTENT), len(CONTENT))
    fetch_asset(asset)
    assert server.log == [(0, len(CONTENT))]  # type: ignore[attr-defined]


@pytest.mark.parametrize("ranges", [True, False])
def test_interrupted_download_goes_on(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, ranges: bool
) -> None:
    server.cut, server.ranges = 300_000, ranges
    asset = served(server, monkeypatch)
    with pytest.raises(AssetError, match="bytes early; 300000 bytes are kept"):
        fetch_asset(asset)
    assert [entry.name for entry in folder.iterdir()] == ["free.bin.part"]
    assert fetch_asset(asset).read_bytes() == CONTENT
    assert [entry.name for entry in folder.iterdir()] == ["free.bin"]
    second = (300_000, len(CONTENT) - 300_000) if ranges else (0, len(CONTENT))
    assert server.log == [(0, len(CONTENT)), second]  # type: ignore[attr-defined]


@pytest.mark.parametrize("before", [b"something else", CONTENT + b"more", CONTENT])
def test_remains_of_another_download(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    folder.mkdir(parents=True)
    (folder / "free.bin.part").write_bytes(before)
    assert fetch_asset(served(server, monkeypatch)).read_bytes() == CONTENT
    assert [entry.name for entry in folder.iterdir()] == ["free.bin"]


def test_wrong_sum_is_refused_and_removed(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.body = CONTENT[::-1]
    with pytest.raises(AssetError, match="SHA-256"):
        fetch_asset(served(server, monkeypatch))
    assert list(folder.iterdir()) == []


def test_unreachable_files_say_so(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = served(server, monkeypatch)
    missing = served(server, monkeypatch, url=f"{asset.url}-moved")
    with pytest.raises(AssetError, match=r"answers 404.*ned assets add FILE"):
        fetch_asset(missing)
    nobody = served(server, monkeypatch, url="http://127.0.0.1:9/file")
    with pytest.raises(AssetError, match="cannot be downloaded"):
        fetch_asset(nobody)
    with pytest.raises(AssetError, match="only https is trusted"):
        fetch_asset(served(server, monkeypatch, url="file:///etc/hostname"))
    assert list(folder.iterdir()) == []


def test_plain_http_is_not_trusted(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = served(server, monkeypatch)
    monkeypatch.setattr("ned.core.files.download._SCHEMES", ("https://",))
    with pytest.raises(AssetError, match="only https is trusted"):
        fetch_asset(asset)
    assert server.log == []  # type: ignore[attr-defined]


def test_a_server_cannot_lead_to_where_nothing_is_trusted(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.moved = "http://localhost/file"
    with pytest.raises(AssetError, match="it is at http://localhost/file, and only https"):
        fetch_asset(served(server, monkeypatch))


@pytest.mark.parametrize("told", [True, False])
def test_no_more_than_the_size_is_taken(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    server.silent = not told
    asset = served(server, monkeypatch, size=len(CONTENT) - 1)
    amounts: list[int] = []
    with pytest.raises(AssetError, match=rf"{len(CONTENT)} bytes or more, {len(CONTENT) - 1} at"):
        fetch_asset(asset, lambda done, total: amounts.append(done))
    assert max(amounts, default=0) < len(CONTENT)
    assert bool(amounts) != told  # where the length is told, nothing is taken at all
    assert not (folder / "free.bin").exists()
    whole = served(server, monkeypatch, size=len(CONTENT))
    assert fetch_asset(whole).read_bytes() == CONTENT


def test_archives_are_not_unpacked_beyond_what_a_file_can_have(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = tmp_path / "bomb.zip"
    name = next(row for row in table.all_assets() if row.name == "flame").files[0]
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(1_000_001))
    monkeypatch.setattr(table, "_MOST_BYTES", 1_000_000)
    with pytest.raises(AssetError, match="would have 1000001 bytes, 1000000 at most"):
        add_asset(bomb, unpublished=True)
    assert not folder.exists() or list(folder.iterdir()) == []


def test_second_process_waits_its_turn(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ned.core.files.partial import Partial

    folder.mkdir(parents=True)
    guard = Partial(folder / "free.bin")
    try:
        with pytest.raises(OutputError, match="another process"):
            fetch_asset(served(server, monkeypatch))
    finally:
        guard.discard()


@pytest.mark.parametrize("name", ["flame", "deca", "syncnet", "ned-renderer"])
def test_nothing_gated_is_fetched(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assets", "fetch", name]) == 1
    error = capsys.readouterr().err
    assert "is not downloaded by ned" in error and "ned assets add FILE" in error
    assert len(error.splitlines()) == 1


def test_command_lists_and_adds(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["assets"]) == 0
    out = capsys.readouterr().out
    assert all(f"missing  {asset.name}:" in out for asset in all_assets())
    model = tmp_path / "strange.name"
    model.write_bytes(GENUINE["pickle"])
    assert main(["assets", "add", str(model), "--as", "flame"]) == 0
    assert capsys.readouterr().out == f"filed {folder / 'generic_model.pkl'}\n"
    assert main(["assets", "list", "flame"]) == 0
    assert "present  flame:" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", ["add", "fetch", "add x --as nothing", "fetch sface --as sface", "fetch nothing"]
)
def test_unclear_commands_are_refused_in_one_line(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x").write_bytes(b"x")
    assert main(["assets", *words.split()]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
