"""Fuzz: damaged and made-up files of every kind; whatever is neither read nor refused is a finding.

    make fuzz                          ten minutes
    make fuzz FUZZ_MINUTES=60
    python tests/fuzz/fuzz.py pickle   one kind alone; FUZZ_FINDINGS names the folder of findings

Every finding is written to a file, as small as it could be made, and its path is printed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

if __name__ == "__main__":
    tests = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(tests.parent), str(tests), str(tests / "fuzz")]

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from inputs import Kind, checked, film, kinds

from ned.core.errors import NedError
from ned.core.worker import Limits, run_function

_PATIENCE = 10  # seconds for a file that is read in this process
_FILM = Limits(seconds=60, cpu_seconds=30, memory=4 << 30)
_MOST_MEMORY = 12 << 30  # bytes of address space of this process
_MOST_EDITS = 8
_BYTES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\x7f", b"\xff" * 8, b"[", b"{", b"9" * 30)


class Finding(Exception):
    """Something that is neither success nor one line."""


def data_of(kind: Kind) -> st.SearchStrategy[bytes]:
    """Files of a kind: valid ones with some bytes changed, or words in any order."""
    place = st.floats(0, 1)
    piece = st.one_of(st.sampled_from(_BYTES), st.binary(max_size=9))
    action = st.sampled_from(["replace", "insert", "delete", "repeat", "cut", "flip"])
    edits = st.lists(st.tuples(action, place, piece), min_size=1, max_size=_MOST_EDITS)
    changed = st.builds(edited, st.sampled_from(list(kind.seeds)), edits)
    if not kind.words:
        return changed
    words = st.lists(st.one_of(st.sampled_from(list(kind.words)), st.text(max_size=4)), max_size=30)
    made_up = words.map(lambda parts: "".join(parts).encode(errors="replace"))
    return st.one_of(changed, made_up)


def edited(data: bytes, edits: Iterable[tuple[str, float, bytes]]) -> bytes:
    """Bytes after some changes, each at a place in [0, 1] of what is there."""
    for action, place, piece in edits:
        at = min(int(place**2 * len(data)), max(0, len(data) - 1))  # headers stand first
        before, after = data[:at], data[at:]
        length = max(1, len(piece))
        if action == "replace":
            data = before + piece + after[length:]
        elif action == "insert":
            data = before + piece + after
        elif action == "delete":
            data = before + after[length:]
        elif action == "repeat":
            data = before + after[: 16 * length] * 2 + after[16 * length :]
        elif action == "cut":
            data = before
        elif after:
            data = before + bytes([after[0] ^ (1 << length % 8)]) + after[1:]
    return data


def attempt(kind: Kind, data: bytes, folder: Path) -> None:
    """Read a file of a kind.

    Raises:
        Finding: It was neither read nor refused in one line.
    """
    path = folder / f"input{kind.suffix}"
    path.write_bytes(data)
    try:
        if kind.apart:
            run_function(film, str(path), limits=_FILM)
            return
        with _patience():
            kind.read(path)
    except NedError as error:
        if kind.apart:  # the child says in its own words what it refuses
            raise Finding(f"worker: {error}") from error
        try:
            checked(error)
        except AssertionError as wrong:
            raise Finding(str(wrong)) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        raise Finding(f"{type(error).__name__} at {place}: {str(error)[:200]}") from error


@contextmanager
def _patience() -> Iterator[None]:
    """Raise TimeoutError in what takes too long, where the system can."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {_PATIENCE} s")

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fuzz(kind: Kind, count: int, start: int, folder: Path, until: float = float("inf")) -> None:
    """Read up to `count` files of a kind, made from the seed `start`.

    Raises:
        Finding: The smallest file that could be found of one that is a finding; it lies in
            `folder`, see `attempt`.
    """

    @seed(start)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
    )
    @given(data_of(kind))
    def one(data: bytes) -> None:
        if time.monotonic() < until:
            attempt(kind, data, folder)

    one()


def run(names: Sequence[str], minutes: float, findings: Path, say: Callable[[str], object]) -> int:
    """Fuzz kinds in turn for some minutes; returns how many findings were written and said."""
    _limit_memory()
    ends, found, counts, told = time.monotonic() + 60 * minutes, 0, dict[str, int](), set[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known = {key: kind for key, kind in kinds(folder).items() if kind.seeds}
        chosen = {key: known[key] for key in names or known}
        while time.monotonic() < ends:
            for key, kind in chosen.items():
                start, count = random.randrange(1 << 32), 20 if kind.apart else 300
                try:
                    fuzz(kind, count, start, folder, ends)
                except Finding as finding:
                    words = f"{key}: {finding}"
                    if words not in told:
                        told.add(words)
                        found += 1
                        findings.mkdir(parents=True, exist_ok=True)
                        path = findings / f"{key.replace(' ', '_')}-{start}{kind.suffix}"
                        path.write_bytes((folder / f"input{kind.suffix}").read_bytes())
                        say(f"{path}: {words}")
                counts[key] = counts.get(key, 0) + count
                if time.monotonic() > ends:
                    break
    say(f"{found} findings in about {sum(counts.values())} files of {len(counts)} kinds")
    return found


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, hard))


if __name__ == "__main__":
    minutes = float(os.environ.get("FUZZ_MINUTES") or 10)
    where = Path(os.environ.get("FUZZ_FINDINGS") or "fuzz-findings")
    found = run(sys.argv[1:], minutes, where, lambda line: print(line, flush=True))
    sys.exit(bool(found))
