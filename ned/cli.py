"""The roof: the command line; the only module that knows every room, and that prints."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Union

from ned import __version__
from ned.core.errors import InputError, NedError
from ned.core.progress import SILENT, Progress, TerminalProgress
from ned.core.table import Line, Table, draw_table, plain_lines
from ned.options import AssetsOptions, DemoOptions, DirectOptions, EvaluateOptions, InfoOptions
from ned.options.datasets import AffWildOptions, MeadOptions, ReconstructOptions
from ned.options.exchange import ExportOptions, ImportOptions
from ned.options.manipulate import ManipulateOptions
from ned.options.postprocess import PostprocessOptions
from ned.options.preprocess import PreprocessOptions
from ned.options.render import ExportRendererOptions, RenderOptions, TrainRendererOptions
from ned.options.train_hybrid import TrainHybridOptions
from ned.options.train_manipulator import TrainManipulatorOptions

_OUR_PACKAGES = ("ned", "preprocessing", "deca", "manipulator", "renderer", "postprocessing")
_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
_PIPE_CLOSED = 141  # 128 + SIGPIPE


@dataclass(frozen=True)
class Command:
    """One row of the table: a subcommand, its options, and the function that runs it.

    `run` is named, "module:function", so that help needs none of them; it is given the options and
    the progress, and returns what to print (`ned.core.table`). `resumable` ones keep what they have
    finished when they are interrupted.
    """

    name: str
    options: type
    run: str
    resumable: bool = False

    def __call__(self, options: object, progress: Progress) -> Sequence[Line]:
        module, function = self.run.split(":")
        return getattr(import_module(f"ned.commands.{module}"), function)(options, progress)


COMMANDS = (
    Command("direct", DirectOptions, "direct:run"),
    Command("demo", DemoOptions, "demo:demo"),
    Command("info", InfoOptions, "info:info"),
    Command("evaluate", EvaluateOptions, "evaluate:evaluate"),
    Command("preprocess", PreprocessOptions, "preprocess:preprocess", resumable=True),
    Command("manipulate", ManipulateOptions, "manipulate:manipulate"),
    Command("train-manipulator", TrainManipulatorOptions, "train_manipulator:train_manipulator"),
    Command("postprocess", PostprocessOptions, "postprocess:postprocess", resumable=True),
    Command("render", RenderOptions, "render:render", resumable=True),
    Command("train-renderer", TrainRendererOptions, "train_renderer:train_renderer", True),
    Command("train-hybrid", TrainHybridOptions, "train_hybrid:train_hybrid", resumable=True),
    Command("export-renderer", ExportRendererOptions, "export_renderer:export_renderer"),
    Command("reconstruct", ReconstructOptions, "datasets:reconstruct", resumable=True),
    Command("reconstruct-mead", MeadOptions, "datasets:reconstruct_mead", resumable=True),
    Command("detect-affwild2", AffWildOptions, "datasets:detect_affwild2", resumable=True),
    Command("export", ExportOptions, "exchange:export"),
    Command("import", ImportOptions, "exchange:import_"),
    Command("assets", AssetsOptions, "assets:assets"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; domain errors become one line.

    Args:
        arguments: The words after `ned`; those of this process if None.

    Returns:
        0 on success, 1 on an error, 130 when interrupted, 141 when nobody reads the output.

    Raises:
        SystemExit: With 0 after help, with 2 when the words cannot be understood.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    verbose = "--verbose" in words
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be valid text
    command: Command | None = None
    try:
        if words[:1] == ["--version"]:
            print(f"ned {__version__}", flush=True)
            return 0
        _start_logging(verbose)
        options = _parse(words)
        command = next(row for row in COMMANDS if row.options is type(options))
        progress = TerminalProgress() if sys.stderr.isatty() else SILENT
        for line in command(options, progress):
            _print(line, verbose)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:
        _discard_output()
        return _PIPE_CLOSED
    except KeyboardInterrupt:
        kept = command is not None and command.resumable
        what = "run it again to go on" if kept else "nothing was written"
        print(f"ned: interrupted, {what}", file=sys.stderr)
        return _INTERRUPTED
    except (NedError, OSError) as error:
        if verbose:
            logging.getLogger(__name__).debug("where it happened", exc_info=error)
        print(f"ned: error: {_one_line(_message(error))}", file=sys.stderr)
        return 1


def _parse(words: list[str]) -> object:
    """The options object of the subcommand that was asked for; raises InputError."""
    import tyro
    from tyro import conf

    _check_names(words)
    choices = tuple(Annotated[row.options, conf.subcommand(row.name)] for row in COMMANDS)
    verbose_help = "Tell everything: log every step, show details, and where an error happened."
    fields = [
        ("command", Union[choices]),  # noqa: UP007 - built from the table
        ("verbose", Annotated[bool, conf.arg(help=verbose_help)], dataclasses.field(default=False)),
    ]
    parsed = tyro.cli(
        dataclasses.make_dataclass("Arguments", fields, frozen=True),
        prog="ned",
        description="Direct recorded performances: the same take, the same words, another emotion. "
        "`ned --version` tells the version.",
        args=words,
        config=(
            conf.CascadeSubcommandArgs,
            conf.FlagCreatePairsOff,
            conf.OmitArgPrefixes,
            conf.OmitSubcommandPrefixes,
        ),
    )
    return parsed.command


def _check_names(words: list[str]) -> None:
    """Refuse file names that would be read as options; raises InputError."""
    for word in words:
        if word == "--":
            break
        if re.fullmatch(r"-[^\W\d][^=]*\.\w{1,5}", word) or (
            len(word) > 2 and re.match(r"-[^-]", word) and Path(word).is_file()
        ):
            raise InputError(f"'{word}' reads like an option; write ./{word} for the file")


def _print(line: Line, verbose: bool) -> None:
    """Print what a command returned; `verbose` shows details too."""
    if isinstance(line, Table) and sys.stdout.isatty():
        sys.stdout.flush()
        draw_table(line, verbose, _one_line)
        return
    for text in plain_lines(line, verbose):
        print(_one_line(text))


def _start_logging(verbose: bool) -> None:
    logging.basicConfig(format="ned: %(levelname)s: %(message)s", level=logging.WARNING)
    logging.getLogger("PIL").setLevel(logging.CRITICAL)  # our one line says it
    for package in _OUR_PACKAGES:
        logging.getLogger(package).setLevel(logging.DEBUG if verbose else logging.NOTSET)


def _message(error: NedError | OSError) -> str:
    """What to tell of an error; the system's own without their numbers."""
    if isinstance(error, OSError) and error.strerror:
        name = f": '{error.filename}'" if error.filename else ""
        return f"{error.strerror}{name}"
    return str(error)


def _one_line(text: str) -> str:
    """The text with line breaks and control characters (as in odd file names) made visible."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _discard_output() -> None:
    """Point standard output nowhere, so that closing it at exit does not complain again."""
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
