"""Clock: wall and processor time of commands and of calls."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks import footage


def timed(command: list[str], environment: Mapping[str, str] | None = None) -> tuple[float, float]:
    """Wall seconds and CPU seconds of a process; ends the script if it fails.

    Args:
        environment: variables that the process gets besides this one's own.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(
            command,
            cwd=footage.ROOT,
            env={**os.environ, **(environment or {})},
            stdout=messages,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - started
        if process.returncode != 0:
            messages.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{messages.read().decode()[-2000:]}")
    return wall, usage.ru_utime + usage.ru_stime


def clocked(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Result, wall seconds and CPU seconds of a call, its threads included."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu
