"""Download: a file from the web that takes its name only when its sum is right."""

from __future__ import annotations

import contextlib
import http.client
import logging
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPMessage
from pathlib import Path
from typing import IO

from ned.core.errors import AssetError, InputError, quoted
from ned.core.files.assets import Asset, assets_folder, sum_of, verify_asset
from ned.core.files.partial import Partial, open_unfollowed, output_errors

log = logging.getLogger(__name__)

_BLOCK = 1 << 16  # bytes
_PATIENCE = 30.0  # seconds without a byte
_SCHEMES = ("https://",)
_MOST_BYTES = 4 << 30  # of a file whose size the table does not know

Amount = Callable[[int, "int | None"], None]
"""Told after every block: bytes that are here, bytes expected (None if unknown)."""


def fetch_asset(asset: Asset, told: Amount = lambda done, total: None) -> Path:
    """Download a freely licensed asset, or go on where an interrupted download ended.

    The data grow in `<name>.part` in the assets folder; they are hashed and renamed when complete.

    Returns:
        The file; nothing is downloaded if it is there and right.

    Raises:
        InputError: The asset is not one that may be downloaded.
        AssetError: The download fails, or what arrives is not the published file.
        OutputError: The file cannot be written, or another process is writing it.
    """
    if asset.access != "free" or asset.url is None or not asset.sha256:
        why = "its licence must be accepted first" if asset.access == "gated" else asset.licence
        raise InputError(f"{asset.name} is not downloaded by ned ({why}); {asset.how_to_get}")
    target = assets_folder() / asset.files[0]
    if target.is_file() and sum_of(target) in asset.sha256:
        return target
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    guard = Partial(target)  # one process at a time
    try:
        part = target.with_name(f"{target.name}.part")
        resumed = _transfer(asset.url, part, told, asset)
        if resumed and sum_of(part) not in asset.sha256:
            log.warning("%s: what was there before did not fit, starting again", quoted(part))
            part.unlink()
            _transfer(asset.url, part, told, asset)
        try:
            verify_asset(asset, part, f"the file at {asset.url}")
        except AssetError:
            part.unlink()
            raise
        with output_errors(target):
            part.replace(target)
    finally:
        guard.discard()
    return target


def _transfer(url: str, part: Path, told: Amount, asset: Asset) -> bool:
    """Append what is missing to `part`; True if there was something before that was kept."""
    with output_errors(part):
        here = part.stat().st_size if part.is_file() else 0
    if asset.size is not None and here > asset.size:
        here = 0
    if asset.size is not None and here == asset.size:
        return True
    headers = {"User-Agent": "ned"}
    if here:
        headers["Range"] = f"bytes={here}-"
    total, most = None, asset.size or _MOST_BYTES
    try:
        answer = _opened(url, headers)
        if answer is None:  # nothing after `here`: it is complete, or another file
            return True
        with answer:
            start = _start(answer, here)
            length = answer.headers.get("Content-Length")
            total = start + int(length) if length and length.isdigit() else None
            if total is not None and total > most:
                raise _too_long(asset, url, total, most)
            here = start
            with output_errors(part):
                file = open_unfollowed(part)
            with file:
                file.seek(start)
                file.truncate()
                while block := answer.read(_BLOCK):
                    if here + len(block) > most:
                        file.truncate(0)
                        raise _too_long(asset, url, here + len(block), most)
                    with output_errors(part):
                        file.write(block)
                    here += len(block)
                    told(here, total)
        if total is not None and here < total:
            raise http.client.IncompleteRead(b"", total - here)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        kept = f"{here} bytes are kept, run the command again" if here else "try again later"
        raise AssetError(
            f"{asset.name} cannot be downloaded from {url}: {_words(error)}; {kept}, or get it "
            f"yourself from {asset.source} and run `ned assets add FILE`"
        ) from error
    return start > 0


def _opened(url: str, headers: dict[str, str]) -> http.client.HTTPResponse | None:
    """The answer; None where the server has nothing in the range that was asked for."""
    _check_scheme(url)
    try:
        opener = urllib.request.build_opener(_Redirects)
        return opener.open(urllib.request.Request(url, headers=headers), timeout=_PATIENCE)
    except urllib.error.HTTPError as error:
        if error.code == 416 and "Range" in headers:
            error.close()
            return None
        raise


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to another place, but never to one that anybody on the way can change."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_scheme(url: str) -> None:
    if not url.startswith(_SCHEMES):
        raise urllib.error.URLError(f"it is at {url}, and only https is trusted")


def _too_long(asset: Asset, url: str, length: int, most: int) -> AssetError:
    return AssetError(
        f"{asset.name} is not what lies at {url}: that has {length} bytes or more, {most} at most "
        f"were expected; nothing is kept, get it yourself from {asset.source} and run `ned assets "
        "add FILE`"
    )


def _start(answer: http.client.HTTPResponse, asked: int) -> int:
    """Where in the file the answer's data begin."""
    if answer.status != 206:
        return 0
    words = answer.headers.get("Content-Range", "")
    with contextlib.suppress(IndexError, ValueError):
        if int(words.split()[1].split("-")[0]) == asked:
            return asked
    raise http.client.HTTPException(f"the server sent another range ({words})")


def _words(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, http.client.IncompleteRead):
        return f"the connection ended {error.expected} bytes early"
    text = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return " ".join(str(text).split()) or type(error).__name__
