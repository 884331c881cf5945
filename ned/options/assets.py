"""Options of `assets`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ned.core.errors import InputError


@dataclass(frozen=True)
class AssetsOptions:
    """List third-party files that some options use, file those you got, fetch the free ones."""

    action: Positional[Literal["list", "add", "fetch"]] = "list"
    """List what is here and missing, add files you got, or fetch freely licensed ones."""
    items: Annotated[
        Positional[tuple[str, ...]], arg(metavar="FILE|NAME", help_behavior_hint="")
    ] = ()
    """Files to add (a .zip archive is looked through), or names to fetch, or to list alone."""
    name: Annotated[str | None, arg(name="as", metavar="NAME", help_behavior_hint="")] = None
    """Which asset the added file is, where its name does not tell."""
    unpublished: bool = False
    """Add a file although it differs from the published one: your own training or conversion."""

    def __post_init__(self) -> None:
        """Check the combination; raises InputError."""
        if self.action != "list" and not self.items:
            what = "a downloaded file" if self.action == "add" else "the name of a free asset"
            raise InputError(f"nothing to {self.action}: give {what}; `ned assets` lists them")
        if self.action != "add" and (self.name is not None or self.unpublished):
            raise InputError("--as and --unpublished belong to `ned assets add FILE`")
        if self.name is not None and len(self.items) > 1:
            raise InputError("--as names one file, add the others by themselves")
