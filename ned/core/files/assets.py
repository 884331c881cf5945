"""Assets: third-party files that the user brings; what each is for, and where it lies."""

from __future__ import annotations

import difflib
import fnmatch
import functools
import hashlib
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from ned.core.errors import AssetError, InputError, quoted, reason
from ned.core.files.asset_checks import check_content
from ned.core.files.partial import Partial, output_errors

Access = Literal["free", "manual", "gated"]

_BLOCK = 1 << 20  # bytes
_BROKEN_ARCHIVE = (  # damaged, encrypted, packed in a way that is not known
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError),
    *(RuntimeError, UnicodeDecodeError),
)
_MOST_BYTES = 4 << 30  # of a member of an archive whose size the table does not know


@dataclass(frozen=True)
class Asset:
    """One row of configs/assets.yaml.

    Attributes:
        name: as in `ned assets`. purpose: what it is for. licence: in a few words.
        access: "free" ones can be fetched, "manual" and "gated" ones only brought by the user.
        source: where the user gets it. files: accepted names (shell patterns), the first is plain.
        kind: of content, as in ned/core/content.py.
        url: of a free one. size: bytes of the published file, where known.
        sha256: {sum: version} of published files; if `exact`, others are refused.
    """

    name: str
    purpose: str
    licence: str
    access: Access
    source: str
    files: tuple[str, ...]
    kind: str
    url: str | None = None
    size: int | None = None
    exact: bool = False
    sha256: Mapping[str, str] = field(default_factory=dict)

    def accepts(self, file_name: str) -> bool:
        """True if a file of this name is taken for this asset."""
        return any(fnmatch.fnmatchcase(file_name, pattern) for pattern in self.files)

    @property
    def how_to_get(self) -> str:
        """The next step for somebody who does not have it."""
        if self.access == "free":
            return f"run `ned assets fetch {self.name}` (or {self.source}, `ned assets add FILE`)"
        return f"get it from {self.source}, then run `ned assets add FILE`"


@functools.cache
def all_assets() -> tuple[Asset, ...]:
    """The table that ships with the package (configs/assets.yaml)."""
    import yaml

    text = resources.files("configs").joinpath("assets.yaml").read_text(encoding="utf-8")
    return tuple(Asset(**{**row, "files": tuple(row["files"])}) for row in yaml.safe_load(text))


def known_asset(name: str) -> Asset:
    """The row of that name; raises InputError with the nearest names if there is none."""
    table = {asset.name: asset for asset in all_assets()}
    if name not in table:
        near = difflib.get_close_matches(name, table, n=3) or list(table)
        raise InputError(f"there is no asset {name!r}; known ones are {', '.join(near)}")
    return table[name]


def assets_folder() -> Path:
    """Where assets lie: NED_ASSETS, else `ned/assets` in the user's data folder."""
    chosen = os.environ.get("NED_ASSETS")
    if chosen:
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path("~/.local/share").expanduser()) / "ned" / "assets"


def find_asset(name: str) -> Path | None:
    """The file of an asset, None if it is not there; raises InputError for unknown names."""
    asset = known_asset(name)
    folder = assets_folder()
    try:
        present = sorted(path.name for path in folder.iterdir() if path.is_file())
    except OSError:
        return None
    for pattern in asset.files:
        for file_name in present:
            if fnmatch.fnmatchcase(file_name, pattern):
                return folder / file_name
    return None


def require_asset(name: str) -> Path:
    """The file of an asset.

    Raises:
        AssetError: It is missing; the line says what it is for, its licence and how to get it.
        InputError: There is no asset of that name.
    """
    path = find_asset(name)
    if path is None:
        asset = known_asset(name)
        raise AssetError(
            f"{asset.files[0]} is missing ({asset.purpose}; {asset.licence}); {asset.how_to_get}"
        )
    return path


def add_asset(path: Path, name: str | None = None, unpublished: bool = False) -> list[Path]:
    """Verify a file and file a copy of it; of a .zip archive, all assets inside.

    Args:
        path: the file as the user got it. name: which asset it is; told by its name if None.
        unpublished: also accept a file that differs from the published one.

    Returns:
        The filed copies.

    Raises:
        InputError: The file cannot be read, or it is unclear what it is.
        AssetError: It is not what it claims to be. OutputError: It cannot be filed.
    """
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise InputError(f"{quoted(path)} {what}; give a downloaded file")
    try:
        if path.suffix.lower() == ".zip":
            return _add_archive(path, name, unpublished)
        asset = known_asset(name) if name else _recognised(path)
        file_name = path.name if asset.accepts(path.name) else asset.files[0]
        return [_file(asset, file_name, path.open("rb"), quoted(path), unpublished)]
    except (PermissionError, *_BROKEN_ARCHIVE) as error:
        raise InputError(f"{quoted(path)} cannot be read: {reason(error)}") from error


def verify_asset(asset: Asset, path: Path, shown: str, unpublished: bool = False) -> None:
    """Check content, and where the table knows them size and sum; `shown` names the file.

    Raises:
        AssetError: The file is not what it claims to be.
    """
    advice = f"get it again from {asset.source}"
    try:
        check_content(path, asset.kind)
    except ValueError as error:
        raise AssetError(f"{shown} is not a usable {asset.files[0]}: {error}; {advice}") from error
    if not asset.exact or unpublished:
        return
    insist = "or add --unpublished if it is meant to differ"
    size = path.stat().st_size
    if asset.size is not None and size != asset.size:
        raise AssetError(
            f"{shown} has {size} bytes, the published {asset.files[0]} {asset.size}; "
            f"{advice}, {insist}"
        )
    found = sum_of(path)
    if found not in asset.sha256:
        raise AssetError(
            f"{shown} has the SHA-256 {found}, the published {asset.files[0]} "
            f"{' or '.join(asset.sha256)}; {advice}, {insist}"
        )


def sum_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def publish_asset(file_name: str, write: Callable[[Path], None]) -> Path:
    """Make a file in the assets folder; `write` fills and verifies it before it gets its name."""
    target = assets_folder() / file_name
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    partial = Partial(target)
    try:
        write(partial.path)
        partial.publish()
    finally:
        partial.discard()
    return target


def _recognised(path: Path) -> Asset:
    """The asset that a file is by its name, else by its sum."""
    for asset in all_assets():
        if asset.accepts(path.name):
            return asset
    found = sum_of(path)
    for asset in all_assets():
        if found in asset.sha256:
            return asset
    raise InputError(
        f"it is unclear which asset {quoted(path)} is; say so with --as NAME "
        "(`ned assets` lists names and usual file names)"
    )


def _add_archive(path: Path, name: str | None, unpublished: bool) -> list[Path]:
    """File the members of an archive that are assets."""
    wanted = [known_asset(name)] if name else all_assets()
    with zipfile.ZipFile(path) as archive:
        found = []
        for member in archive.infolist():
            file_name = PurePosixPath(member.filename).name
            asset = next((row for row in wanted if row.accepts(file_name)), None)
            if asset is not None and not member.is_dir():
                _check_length(asset, member, path, unpublished)
                found.append((asset, file_name, member))
        if not found:
            names = ", ".join(asset.files[0] for asset in wanted[:4])
            raise InputError(f"{quoted(path)} holds no known asset, such as {names}; unpack it")
        return [
            _file(
                asset,
                file_name,
                archive.open(member),
                f"{file_name} in {quoted(path)}",
                unpublished,
            )
            for asset, file_name, member in found
        ]


def _check_length(asset: Asset, member: zipfile.ZipInfo, path: Path, unpublished: bool) -> None:
    """Raise AssetError if a member would unpack to more than the file can have."""
    most = asset.size if asset.exact and asset.size and not unpublished else _MOST_BYTES
    if member.file_size > most:
        raise AssetError(
            f"{PurePosixPath(member.filename).name} in {quoted(path)} would have "
            f"{member.file_size} bytes, {most} at most are expected; get it again from "
            f"{asset.source}"
        )


def _copy(source: IO[bytes], target: IO[bytes], shown: str) -> None:
    """Copy a file, as far as it may be long; `shown` names it. Raises AssetError, OSError."""
    length = 0
    while block := source.read(_BLOCK):
        length += len(block)
        if length > _MOST_BYTES:
            raise AssetError(f"{shown} has more than {_MOST_BYTES} bytes, no asset is that long")
        target.write(block)


def _file(asset: Asset, file_name: str, source: IO[bytes], shown: str, unpublished: bool) -> Path:
    target = assets_folder() / file_name

    def write(partial: Path) -> None:
        with output_errors(target), partial.open("wb") as copy:
            _copy(source, copy, shown)
        verify_asset(asset, partial, shown, unpublished)

    with source:
        return publish_asset(file_name, write)
