"""Cluster: one function over thousands of clips, with Ray where it is installed.

Every clip gets a line in a manifest (JSON lines) when it ends; a run that is started again goes on
with the clips that are not done.
"""

from __future__ import annotations

import json
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ned.core.errors import InputError, NedError, quoted, reason
from ned.core.files.json_files import parse_json
from ned.core.files.partial import append_text, output_errors
from ned.core.progress import SILENT, Progress

log = logging.getLogger(__name__)

_KNOCK = 5.0  # seconds

State = Literal["done", "skipped", "failed"]


class SkippedError(NedError):
    """A clip that the data set's rules leave out; no failure."""


@dataclass(frozen=True)
class Job:
    """One clip's work.

    Attributes:
        clip: its name in the manifest.
        hash: of everything that the result depends on; another hash means work again.
        arguments: of the function, by name; they must survive pickling.
        results: files that must be there for the work to count as done.
    """

    clip: str
    hash: str
    arguments: Mapping[str, Any]
    results: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A line of the manifest: how a clip's work ended."""

    clip: str
    state: State
    error: str | None
    seconds: float
    hash: str


@dataclass(frozen=True)
class ClusterSettings:
    """Where and how often.

    Attributes:
        address: of a Ray cluster ("auto" for the one of this machine); None for a Ray of our own.
        attempts: per clip, for failures that another attempt may cure (a machine that went down).
        retry_failed: also repeat clips that an earlier run has given up.
    """

    address: str | None = None
    attempts: int = 3
    retry_failed: bool = True


def run_all(
    work: Callable[..., None],
    jobs: Sequence[Job],
    manifest: Path,
    settings: ClusterSettings = ClusterSettings(),
    progress: Progress = SILENT,
) -> Counter[str]:
    """Run `work(**job.arguments)` for every job that is not done; returns how many ended how.

    `work` raises SkippedError for a clip to leave out, a NedError for one that cannot be used (not
    tried again), anything else for what may go well next time.

    Raises:
        InputError: The cluster cannot be reached, or the manifest not read.
        OutputError: The manifest cannot be written.
    """
    past = read_manifest(manifest)
    ended = {"done", "skipped"} if settings.retry_failed else {"done", "skipped", "failed"}
    due, counts = [], Counter[str]()
    for job in jobs:
        entry = past.get(job.clip)
        if entry is not None and _stands(entry, job, ended):
            counts["unchanged"] += 1
        else:
            due.append(job)
    if not due:
        return counts
    with progress.stage("clips", len(due)) as step, output_errors(manifest):
        manifest.parent.mkdir(parents=True, exist_ok=True)
        append_text(manifest, "\n" * _is_cut_off(manifest))
        for entry in _entries(work, due, settings):
            append_text(manifest, json.dumps(asdict(entry)) + "\n")
            counts[entry.state] += 1
            if entry.state == "failed":
                log.warning("%s: %s", entry.clip, entry.error)
            step(1)
    return counts


def read_manifest(path: Path) -> dict[str, Entry]:
    """The last line of each clip; lines that a killed run left unfinished are passed over.

    Raises:
        InputError: The file is something else.
    """
    if not path.is_file():
        return {}
    entries: dict[str, Entry] = {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines:
        try:
            entry = Entry(**parse_json(line))
        except (ValueError, TypeError):
            continue
        entries[entry.clip] = entry
    if len(lines) > 1 and not entries:
        raise InputError(f"{quoted(path)} is no manifest; move it away")
    return entries


def _is_cut_off(path: Path) -> bool:
    """True if there is a last line that is unfinished."""
    data = path.read_bytes() if path.is_file() else b""
    return bool(data) and not data.endswith(b"\n")


def _stands(entry: Entry, job: Job, ended: set[str]) -> bool:
    """True if a job's earlier end still counts."""
    if entry.hash != job.hash or entry.state not in ended:
        return False
    return entry.state != "done" or all(path.is_file() for path in job.results)


def _entries(
    work: Callable[..., None], jobs: Sequence[Job], settings: ClusterSettings
) -> Iterator[Entry]:
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError:
        if settings.address is not None:
            raise InputError(
                f"--address {settings.address} needs Ray: pip install 'ned[cluster]'"
            ) from None
        log.warning(
            "Ray is not installed (pip install 'ned[cluster]'): clips run one after the other"
        )
        yield from _one_by_one(work, jobs, settings.attempts)
    else:
        yield from _with_ray(ray, work, jobs, settings)


def _one_by_one(work: Callable[..., None], jobs: Iterable[Job], attempts: int) -> Iterator[Entry]:
    for job in jobs:
        start = time.monotonic()
        for number in range(attempts):
            try:
                yield _attempt(work, job)
                break
            except Exception as error:
                log.debug("%s, attempt %d", job.clip, number + 1, exc_info=error)
                if number == attempts - 1:
                    yield _failed(job, error, time.monotonic() - start)


def _with_ray(
    ray: Any, work: Callable[..., None], jobs: Sequence[Job], settings: ClusterSettings
) -> Iterator[Entry]:
    own = not ray.is_initialized()
    if own:
        _check_address(settings.address)
        try:
            ray.init(
                address=settings.address,
                logging_level=logging.ERROR,
                log_to_driver=False,
                **({} if settings.address else {"include_dashboard": False}),
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            where = settings.address or "this machine"
            raise InputError(f"Ray cannot be used on {where}: {said}") from error
    retries = settings.attempts - 1
    remote = ray.remote(max_retries=retries, retry_exceptions=True)(_attempt)
    try:
        waiting = list(reversed(jobs))
        most = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        running: dict[Any, tuple[Job, float]] = {}
        while waiting or running:
            while waiting and len(running) < most:
                job = waiting.pop()
                running[remote.remote(work, job)] = job, time.monotonic()
            ready, _ = ray.wait(list(running))
            for reference in ready:
                job, start = running.pop(reference)
                try:
                    yield ray.get(reference)
                except ray.exceptions.RayError as error:
                    cause = getattr(error, "cause", None) or error
                    yield _failed(job, cause, time.monotonic() - start)
    finally:
        if own:
            ray.shutdown()


def _check_address(address: str | None) -> None:
    """Knock at a cluster's door first: Ray itself would wait for minutes.

    Raises:
        InputError: Nobody answers, or it is no address.
    """
    if address in (None, "auto", "local"):
        return
    host, _, port = str(address).removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"--address is {address!r}, give auto or HOST:PORT, such as head:6379")
    try:
        socket.create_connection((host, int(port)), timeout=_KNOCK).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"no Ray cluster answers at {address} ({reason(error)}); "
            "start one with `ray start --head`, or leave out --address"
        ) from error


def _attempt(work: Callable[..., None], job: Job) -> Entry:
    start = time.monotonic()
    state, said = "done", None
    try:
        work(**job.arguments)
    except SkippedError as error:
        state, said = "skipped", str(error)
    except NedError as error:
        state, said = "failed", str(error)
    return Entry(job.clip, state, said, round(time.monotonic() - start, 3), job.hash)


def _failed(job: Job, error: BaseException, seconds: float) -> Entry:
    said = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    return Entry(job.clip, "failed", said, round(seconds, 3), job.hash)
