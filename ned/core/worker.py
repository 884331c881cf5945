"""Worker: a command or function in a child process that may use only so much of the machine.

What somebody uploads may ask a decoder for hours or gigabytes. In a child process that costs one
line, not the server: time, memory and the size of files are limited, and a child that crashes
takes nobody with it. It is no sandbox: a child may read and write whatever this user may.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from ned.core import errors
from ned.core.errors import InputError, NedError, reason
from ned.core.files.json_files import parse_json

_ANSWER = "ned-worker: "  # begins the line that holds what a function returned
_MOST_ANSWER = 16 << 20  # bytes of output that are read
_FULL = 90  # exit code of a function that ran out of memory
# Sets limits to itself, then becomes the program: a server with threads may not do so after a fork.
_LAUNCH = """import json, os, resource, sys
limits = json.loads(sys.argv[1])
for name, kind, later in (
    ("cpu_seconds", resource.RLIMIT_CPU, 1),
    ("memory", resource.RLIMIT_AS, 0),
    ("file_bytes", resource.RLIMIT_FSIZE, 0),
):
    if limits[name] is not None:
        hard = resource.getrlimit(kind)[1]
        most = limits[name] + later
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (min(limits[name], most), most))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"{sys.argv[2]!r} cannot be run: {error.strerror}")
"""
# The path comes first: the child must find the modules that the parent found.
_CALL = """import json, sys
sys.path[:] = json.loads(sys.argv[1])
from ned.core.worker import answer
sys.exit(answer(*sys.argv[2:]))
"""
_MEMORY_WORDS = ("MemoryError", "bad_alloc", "Cannot allocate memory", "Unable to allocate")


@dataclass(frozen=True)
class Limits:
    """What a child process may use; None is without limit.

    Attributes:
        seconds: until it must have ended; the only limit where the system is not POSIX.
        cpu_seconds: of computing, over all its threads.
        memory: bytes of address space, which is more than what is used: a film needs 2 GiB.
        file_bytes: of any one file that it writes.
    """

    seconds: float = 600.0
    cpu_seconds: int | None = None
    memory: int | None = 8 << 30
    file_bytes: int | None = None


def run_command(
    words: Sequence[str | Path], limits: Limits, what: str = "the command"
) -> subprocess.CompletedProcess[str]:
    """Run a program, and end it with all that it started when it goes beyond a limit.

    Args:
        words: The program and its arguments. limits: What it may use.
        what: What it works on, for messages, such as a quoted file name.

    Returns:
        Exit code and output as of `subprocess.run`; of long output the last 16 MiB.

    Raises:
        InputError: It went beyond a limit, crashed, or could not be started.
    """
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCH, json.dumps(asdict(limits))]
    given = [os.fspath(word) for word in words]
    with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as complained:
        try:
            child = subprocess.Popen(
                (launcher if os.name == "posix" else []) + given,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=complained,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise InputError(f"{what}: {given[0]!r} cannot be run: {reason(error)}") from error
        try:
            code = child.wait(limits.seconds)
        except subprocess.TimeoutExpired:
            raise InputError(
                f"{what} took more than {limits.seconds:g} s; give something shorter or smaller"
            ) from None
        finally:
            _end(child)
        output, complaints = _tail(told), _tail(complained)
    _check(code, complaints, limits, what)
    return subprocess.CompletedProcess(given, code, output, complaints)


def run_function(
    function: Callable[..., Any], *arguments: Any, limits: Limits, what: str = "the work"
) -> Any:
    """Call a function in a child process; what it returns comes back as JSON, never as a pickle.

    Args:
        function: One that stands at the top of a module. arguments: Values that JSON can hold.
        limits: What the call may use. what: What it works on, for messages.

    Returns:
        What the function returns, as JSON holds it: tuples are lists.

    Raises:
        NedError: The one that the function raised, of its class.
        InputError: The call went beyond a limit, or failed in another way.
    """
    name = f"{function.__module__}:{function.__qualname__}"
    done = run_command(
        [sys.executable, "-c", _CALL, json.dumps(sys.path), name, json.dumps(arguments)],
        limits,
        what,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(_ANSWER)]
    try:
        kind, value = parse_json(lines[-1].removeprefix(_ANSWER))
    except (ValueError, IndexError, TypeError):
        last = (done.stderr.strip().splitlines() or ["without a word"])[-1]
        raise InputError(f"{what} failed: {reason(ValueError(last))[:200]}") from None
    if kind == "returned":
        return value
    raise _known_error(kind)(str(value))


def answer(name: str, arguments: str) -> int:
    """The child's part: call a function, print what it returns, and give the exit code."""
    module, function = name.split(":")
    try:
        result = getattr(import_module(module), function)(*parse_json(arguments))
        line = json.dumps(("returned", result))
    except NedError as error:
        line = json.dumps((type(error).__name__, str(error)))
    except MemoryError:
        return _FULL
    except OSError as error:
        line = json.dumps(("InputError", reason(error)))
    sys.stdout.write(f"\n{_ANSWER}{line}\n")
    return 0


def _known_error(kind: object) -> type[NedError]:
    known = getattr(errors, str(kind), InputError)
    return known if isinstance(known, type) and issubclass(known, NedError) else InputError


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill a child and everything that it has started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    if child.poll() is None:
        child.kill()
    child.wait()


def _tail(file: IO[bytes]) -> str:
    file.seek(max(0, file.seek(0, os.SEEK_END) - _MOST_ANSWER))
    return file.read().decode(errors="replace")


def _check(code: int, complaints: str, limits: Limits, what: str) -> None:
    """Raise InputError if an exit code is that of a breach or a crash."""
    name = signal.Signals(-code).name if code < 0 else ""
    if name in ("SIGXCPU", "SIGKILL") and limits.cpu_seconds is not None:
        raise InputError(
            f"{what} took more than {limits.cpu_seconds} s of computing; "
            "give something shorter or smaller"
        )
    full = code != 0 and any(word in complaints[-4000:] for word in _MEMORY_WORDS)
    if limits.memory is not None and (code == _FULL or full):
        raise InputError(
            f"{what} needs more than {limits.memory / 2**30:.3g} GiB of memory; "
            "give something shorter or smaller"
        )
    if name == "SIGXFSZ":
        raise InputError(f"{what} wrote a file of more than {limits.file_bytes} bytes")
    if name:
        raise InputError(
            f"{what} was ended by {name}; it may be damaged, or need more memory than it may have"
        )
