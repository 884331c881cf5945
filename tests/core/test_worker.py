"""Worker: what goes beyond a limit, or crashes, is one line, and nothing of it goes on running."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ned.core.errors import InputError, NoFaceError, OutputError
from ned.core.worker import Limits, run_command, run_function

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the system has no limits")
GIB = 1 << 30


def python(code: str, limits: Limits = Limits(60)) -> Any:  # noqa: B008
    return run_command([sys.executable, "-c", code], limits, "'a.mp4'")


def refused(code: str, limits: Limits) -> str:
    with pytest.raises(InputError) as caught:
        python(code, limits)
    said = str(caught.value)
    assert "\n" not in said and said.startswith("'a.mp4' ")
    return said


def test_an_ordinary_command_is_as_it_is() -> None:
    done = python("import sys; print('out'); sys.stderr.write('err'); sys.exit(3)")
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err")
    assert python("import sys; print(sys.stdin.read())").stdout == "\n"


def test_time_that_passes_is_limited_with_all_that_was_started(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    grandchild = f"import time; time.sleep(2); open({str(mark)!r}, 'w')"
    code = (
        "import subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {grandchild!r}]); time.sleep(60)"
    )
    began = time.monotonic()
    assert "more than 1 s" in refused(code, Limits(1))
    assert time.monotonic() - began < 10
    time.sleep(1.5)
    assert not mark.exists()


def test_what_a_command_leaves_running_is_ended(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    later = f"import time; time.sleep(1); open({str(mark)!r}, 'w')"
    python(f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {later!r}])")
    time.sleep(1.5)
    assert not mark.exists()


def test_computing_is_limited() -> None:
    began = time.monotonic()
    assert "more than 1 s of computing" in refused("while True: pass", Limits(60, cpu_seconds=1))
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("code", ["bytearray(3 << 30)", "import numpy; numpy.zeros(3 << 30, 'u1')"])
def test_memory_is_limited(code: str) -> None:
    assert "more than 1 GiB of memory" in refused(code, Limits(60, memory=GIB))
    assert python(code, Limits(60, memory=None)).returncode == 0


def test_files_are_limited(tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'a')!r}, 'wb').write(bytes(1 << 20))"
    done = python(code, Limits(60, file_bytes=1000))
    assert done.returncode == 1 and "OSError" in done.stderr
    assert (tmp_path / "a").stat().st_size <= 1000
    assert python(code).returncode == 0


def test_a_crash_is_one_line() -> None:
    assert "ended by SIGSEGV" in refused(
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", Limits(60)
    )


def test_a_program_that_is_not_there() -> None:
    done = run_command(["no-such-program"], Limits(60))
    assert done.returncode == 1 and "cannot be run" in done.stderr
    with pytest.raises(InputError, match="cannot be run"):
        run_command(["a\0b"], Limits(60))


# Functions: called in the child by their names


def doubled(values: list[float], name: str) -> dict[str, Any]:
    sys.stdout.write("noise\n")
    return {name: [2 * value for value in values], "pid": os.getpid()}


def complaining(kind: str) -> None:
    raise {"face": NoFaceError, "output": OutputError, "other": ZeroDivisionError}[kind]("why")


def greedy() -> int:
    return len(bytearray(3 << 30))


def crashing() -> None:
    os.abort()


def test_functions_answer_from_another_process() -> None:
    found = run_function(doubled, [1, 2.5], "x", limits=Limits(60))
    assert found["x"] == [2, 5.0]
    assert found["pid"] != os.getpid()


def test_errors_of_functions_keep_their_class() -> None:
    for kind, known in (("face", NoFaceError), ("output", OutputError)):
        with pytest.raises(known, match=r"^why$"):
            run_function(complaining, kind, limits=Limits(60))
    with pytest.raises(InputError, match=r"^'a' failed: ZeroDivisionError: why$"):
        run_function(complaining, "other", limits=Limits(60), what="'a'")


def test_functions_are_limited() -> None:
    with pytest.raises(InputError, match="GiB of memory"):
        run_function(greedy, limits=Limits(60, memory=2 * GIB))
    with pytest.raises(InputError, match="SIGABRT"):
        run_function(crashing, limits=Limits(60))
