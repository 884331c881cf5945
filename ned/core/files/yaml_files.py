"""YAML files: written by anyone, read without letting a few bytes ask for hours or gigabytes."""

from __future__ import annotations

from typing import Any

import yaml

from ned.core.errors import InputError, reason

_DEEPEST = 16  # lists and mappings inside of one another
_SHOWN = 60  # characters of a value in a message


class PlainLoader(yaml.SafeLoader):
    """Builds plain values only; aliases and deep nesting raise MarkedYAMLError."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """One node of the syntax tree."""
        event = self.peek_event()
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not read; write it out", problem_mark=event.start_mark
            )
        if self.depth >= _DEEPEST:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=event.start_mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def compose(text: str) -> yaml.Node | None:
    """The syntax tree of YAML text; nothing is constructed.

    Raises:
        yaml.YAMLError: The text is no YAML, uses aliases, or is nested deeply.
    """
    return yaml.compose(text, Loader=PlainLoader)


def load(text: str, name: str, limit: int = 100_000) -> Any:
    """Plain values from YAML text of at most `limit` characters; `name` stands in errors.

    Raises:
        InputError: The text is too long, no YAML, uses aliases, or is nested deeply.
    """
    if len(text) > limit:
        raise InputError(f"{name} is longer than it can be ({limit} characters)")
    try:
        return yaml.load(text, Loader=PlainLoader)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{name} is no YAML: {reason(error)[:160]}") from error


def shown(value: object) -> str:
    """A value for a message, shortened."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
