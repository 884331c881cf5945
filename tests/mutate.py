"""Mutate: plants small faults, one at a time, and tells which of them no test notices.

    make mutate                                       100 faults, at most 30 minutes
    python tests/mutate.py --faults 10 --seed 3 --only renderer/warp

A fault is one changed sign, operator, comparison, axis, side, number, bound or dropped argument, at
a random place of the product. It is planted in a copy of the tree, where the tests of its room run:
those that name its module first. What is printed at the end are the survivors: code that could be
wrong without anybody noticing, or that does not matter.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Literal

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("ned", "deca", "manipulator", "renderer", "preprocessing", "postprocessing")
_UNTESTED = ("ned/options/", "ned/commands/demo.py")  # words of help; what downloads
_COPIED = (*ROOMS, "configs", "tests", "pyproject.toml", "Makefile", "README.md", "docs", "typings")
_SHOWN = 100  # characters of code that are printed
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_NAMES |= {"minimum": "maximum", "maximum": "minimum", "floor": "ceil", "ceil": "floor"}
_WORDS = {"left": "right", "right": "left", "upper": "lower", "lower": "upper"}
_WORDS |= {"width": "height", "height": "width", "brows": "mouth"}

Verdict = Literal["caught", "survived", "not judged"]


@dataclass(frozen=True)
class Fault:
    """One change of the product.

    Attributes:
        path: of the module, from the root. line: of the change, counted from 1.
        start, end: bytes of the file that are replaced. old, new: what by what.
    """

    path: str
    line: int
    start: int
    end: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.told}"

    @property
    def told(self) -> str:
        """What is changed; short even where a long call loses one of its arguments."""
        before, after = (ast.parse(f"({text})", mode="eval").body for text in (self.old, self.new))
        if isinstance(before, ast.Call) and isinstance(after, ast.Call):
            kept = {word.arg for word in after.keywords}
            lost = ", ".join(str(word.arg) for word in before.keywords if word.arg not in kept)
            return f"{ast.unparse(before.func)}(...) without {lost}"
        old, new = " ".join(self.old.split()), " ".join(self.new.split())
        return f"{old[:_SHOWN]}  ->  {new[:_SHOWN]}"

    def planted(self, source: bytes) -> bytes:
        """The file with the fault."""
        return source[: self.start] + self.new.encode() + source[self.end :]


def faults_in(path: str, source: bytes) -> Iterator[Fault]:
    """Every fault that could be planted in a module."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for node in _expressions(ast.parse(source)):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        old = source[start:end].decode()
        for changed in changes(node):
            new = ast.unparse(changed)
            if isinstance(changed, (ast.BinOp, ast.BoolOp, ast.Compare, ast.UnaryOp)):
                new = f"({new})"
            yield Fault(path, node.lineno, start, end, old, new)


def changes(node: ast.expr) -> Iterator[ast.expr]:
    """An expression with one thing in it wrong, in each way that there is."""

    def other(**values: object) -> ast.expr:
        changed = copy.deepcopy(node)
        for name, value in values.items():
            setattr(changed, name, value)
        return changed

    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        yield other(op=_OPERATORS[type(node.op)]())
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARISONS:
        yield other(ops=[_COMPARISONS[type(node.ops[0])](), *node.ops[1:]])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not, ast.Invert)):
        yield node.operand
    elif isinstance(node, ast.BoolOp):
        yield other(op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield other(value=not node.value)
        elif isinstance(node.value, int):
            yield other(value=node.value + 1)  # off by one, another axis, the other side
        elif isinstance(node.value, float):
            yield other(value=node.value * 1.5 if node.value != 0.5 else 0.0)  # or off by half
        elif isinstance(node.value, str):
            for word, opposite in _WORDS.items():
                if word in node.value.split("_"):
                    yield other(value=node.value.replace(word, opposite))
    elif isinstance(node, ast.Name) and node.id in _NAMES:
        yield other(id=_NAMES[node.id])
    elif isinstance(node, ast.Attribute) and node.attr in _NAMES:
        yield other(attr=_NAMES[node.attr])
    elif isinstance(node, ast.Call):
        for index, keyword in enumerate(node.keywords):  # an option that is ignored
            if keyword.arg and isinstance(keyword.value, (ast.Attribute, ast.Name)):
                yield other(keywords=[*node.keywords[:index], *node.keywords[index + 1 :]])


def _expressions(node: ast.AST) -> Iterator[ast.expr]:
    """Expressions that are computed with: no messages, annotations, docstrings, texts."""
    if isinstance(node, (ast.Raise, ast.JoinedStr, ast.Assert, ast.Import, ast.ImportFrom)):
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("log.", "logging.")):
        return
    if isinstance(node, ast.If) and ast.unparse(node.test).startswith(("TYPE_CHECK", "__name__")):
        return
    if isinstance(node, ast.expr):
        yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases"):
            continue
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST):
                yield from _expressions(part)


def tests_of(path: str, root: Path = ROOT) -> list[str]:
    """Test files of a module: of its room, those that name it first, then those of commands."""
    module = path.removesuffix(".py").replace("/", ".")
    package, _, name = module.rpartition(".")
    words = (f"from {module} ", f"import {module}", f"from {package} import {name}", f'"{module}')
    room = Path(path).parent.relative_to("ned") if path.startswith("ned/") else Path(path).parts[0]
    files = sorted(p for p in (root / "tests").rglob("test_*.py") if "fuzz" not in p.parts)
    texts = {file: file.read_text("utf-8") for file in files}
    naming = [file for file in files if any(word in texts[file] for word in words)]
    own = [file for file in files if (root / "tests" / room) in file.parents]
    chosen = sorted(naming, key=lambda file: (file not in own, len(texts[file])))
    chosen += [file for file in own if file not in chosen] if not naming else []
    return [str(file.relative_to(root)) for file in chosen]


def judge(fault: Fault, tree: Path, patience: float) -> Verdict:
    """Plant a fault in a copy of the tree, run the tests, and mend it again."""
    tests = tests_of(fault.path)
    if not tests:
        return "survived"
    path = tree / fault.path
    source = path.read_bytes()
    path.write_bytes(fault.planted(source))
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            code = child.wait(patience)
        except subprocess.TimeoutExpired:
            return "not judged"
        finally:
            _end(child)
        return "survived" if code in (0, 5) else "caught"  # 5: nothing to run
    finally:
        path.write_bytes(source)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()
        child.wait()


def sample(count: int, seed: int, only: Sequence[str] = ()) -> list[Fault]:
    """Faults at random places of the product."""
    modules = sorted(
        p.relative_to(ROOT).as_posix() for r in ROOMS for p in (ROOT / r).rglob("*.py")
    )
    faults = [
        fault
        for path in modules
        if not path.startswith(_UNTESTED) and (not only or path.startswith(tuple(only)))
        for fault in faults_in(path, (ROOT / path).read_bytes())
    ]
    return random.Random(seed).sample(faults, min(count, len(faults)))


def main() -> int:
    """Plant, judge and tell; 0 unless nothing could be judged."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--patience", type=float, default=90.0, help="seconds for one fault")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[], help="how paths of modules begin")
    given = parser.parse_args()
    faults = sample(given.faults, given.seed, given.only)
    ends = time.monotonic() + 60 * given.minutes
    verdicts: dict[Fault, Verdict] = {}
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        trees: Queue[Path] = Queue()
        for number in range(given.processes):
            trees.put(_copy(Path(folder) / str(number)))

        def work(fault: Fault) -> None:
            left = ends - time.monotonic()
            if left < 5:
                return
            tree = trees.get()
            try:
                verdicts[fault] = judge(fault, tree, min(given.patience, left))
            finally:
                trees.put(tree)
            print(f"{verdicts[fault]:10}  {fault}", flush=True)

        with ThreadPoolExecutor(given.processes) as pool:
            list(pool.map(work, faults))
    by_verdict = {
        kind: [fault for fault in faults if verdicts.get(fault) == kind]
        for kind in ("caught", "survived", "not judged")
    }
    caught, survived = len(by_verdict["caught"]), len(by_verdict["survived"])
    judged = caught + survived
    print(f"\n{len(by_verdict['survived'])} survivors")
    for fault in by_verdict["survived"]:
        print(f"  {fault}")
    print(
        f"caught {caught} of {judged} ({100 * caught / max(1, judged):.0f} %); "
        f"{len(by_verdict['not judged'])} took too long, {len(faults) - len(verdicts)} not begun"
    )
    return 0 if judged else 1


def _copy(tree: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=ignored)
        elif source.is_file():
            tree.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, tree / name)
    return tree


if __name__ == "__main__":
    sys.exit(main())
