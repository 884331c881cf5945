"""Table: what a command tells in rows; plain text in pipes and files, ruled lines on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Detail:
    """A line that only `--verbose` shows."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Row:
    """Cells of a table, one per column; a `detail` is only shown by `--verbose`."""

    cells: tuple[str, ...]
    detail: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under a heading.

    Attributes:
        columns: their headings; of those that begin with ">" the cells end at the same place.
        rows: each with as many cells as there are columns. title: a line above; "" for none.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    title: str = ""

    def shown(self, verbose: bool) -> list[tuple[str, ...]]:
        """The cells of the rows that are to be seen."""
        return [row.cells for row in self.rows if verbose or not row.detail]

    def lines(self, verbose: bool = False) -> list[str]:
        """The table as plain text; columns are two spaces apart."""
        heads = tuple(column.removeprefix(">") for column in self.columns)
        rows = [heads, *self.shown(verbose)]
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        to_right = [column.startswith(">") for column in self.columns]
        lines = [self.title] if self.title else []
        for row in rows:
            cells = zip(row, widths, to_right, strict=True)
            padded = (cell.rjust(n) if right else cell.ljust(n) for cell, n, right in cells)
            lines.append(f"  {'  '.join(padded)}".rstrip())
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())


Line = str | Detail | Table
"""What commands return for people."""


def plain_lines(line: Line, verbose: bool = False) -> Sequence[str]:
    """The plain lines of text that something a command returned stands for."""
    if isinstance(line, Table):
        return line.lines(verbose)
    return [str(line)] if verbose or not isinstance(line, Detail) else []


def draw_table(table: Table, verbose: bool, safe: Callable[[str], str]) -> None:
    """Draw a table on the terminal that is standard output; `safe` makes cells printable."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as Ruled
    from rich.text import Text

    ruled = Ruled(box=SIMPLE_HEAD, title=Text(safe(table.title)), title_justify="left")
    for column in table.columns:
        right = column.startswith(">")
        head = Text(safe(column.removeprefix(">")))
        ruled.add_column(head, justify="right" if right else "left", no_wrap=right)
    for cells in table.shown(verbose):
        ruled.add_row(*(Text(safe(cell)) for cell in cells))
    Console().print(ruled)
