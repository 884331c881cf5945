"""Assets: what is here, what is missing and how to get it; filing and fetching, as lines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ned.core.files.assets import (
    Asset,
    add_asset,
    all_assets,
    assets_folder,
    find_asset,
    known_asset,
)
from ned.core.files.download import Amount, fetch_asset
from ned.core.progress import SILENT, Progress, TerminalProgress
from ned.options.assets import AssetsOptions

_ACCESS = {
    "free": "freely licensed",
    "manual": "to be downloaded by you",
    "gated": "its licence must be accepted",
}


def assets(options: AssetsOptions, progress: Progress = SILENT) -> list[str]:
    """Do what the options say and tell it in lines.

    Raises:
        InputError: A file or name is unusable. AssetError: A file is not what it claims to be, or
            a download fails. OutputError: The assets folder cannot be written.
    """
    if options.action == "add":
        lines = []
        for item in options.items:
            for path in add_asset(Path(item), options.name, options.unpublished):
                lines.append(f"filed {path}")
        return lines
    if options.action == "fetch":
        rows = [known_asset(name) for name in options.items]
        return [f"fetched {_fetch(row, progress)} ({row.licence})" for row in rows]
    rows = [known_asset(name) for name in options.items] or list(all_assets())
    return [
        f"assets in {assets_folder()} (set NED_ASSETS to use another folder); none is needed for "
        "`ned direct` as it is",
        *(line for row in rows for line in _describe(row)),
    ]


def _describe(asset: Asset) -> list[str]:
    path = find_asset(asset.name)
    if path is None:
        return [
            f"  missing  {asset.name}: {asset.purpose}",
            f"           {asset.files[0]}; {_ACCESS[asset.access]}: {asset.licence}",
            f"           {asset.how_to_get}",
        ]
    size = path.stat().st_size
    other = asset.exact and asset.size not in (None, size)
    remark = f", not the published {asset.size}" if other else ""
    return [
        f"  present  {asset.name}: {asset.purpose}",
        f"           {path}, {size} bytes{remark}; {asset.licence}",
    ]


def _fetch(asset: Asset, progress: Progress) -> Path:
    if not isinstance(progress, TerminalProgress):
        return fetch_asset(asset)
    with _bar(asset.name) as told:
        return fetch_asset(asset, told)


@contextlib.contextmanager
def _bar(name: str) -> Iterator[Amount]:
    """A bar of bytes on standard error; frames are counted by others."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(name, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
