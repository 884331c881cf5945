"""YAML nodes: files of a user read field by field; every error names the line and column.

Nothing is constructed from a file, so no tag in it can run anything.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from ned.core.errors import InputError
from ned.core.files import yaml_files
from ned.core.files.yaml_files import shown
from ned.core.script.notation import Place, parse_number, parse_seconds


def read_text(path: Path, what: str, most: int) -> str:
    """The text of a file of at most `most` bytes; `what` it is stands in errors.

    Raises:
        InputError: It cannot be read, is too large, or no UTF-8.
    """
    try:
        if path.stat().st_size > most:
            raise InputError(f"{path} is larger than a {what} can be ({most} bytes)")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"cannot read the {what} {path}: {reason}") from error


def compose(text: str, name: str, what: str) -> yaml.Node | None:
    """The syntax tree of YAML text, None of an empty one.

    Args:
        name: stands in front of errors. what: the text should be, such as "a timeline".

    Raises:
        InputError: It is not YAML.
    """
    try:
        return yaml_files.compose(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        reason = " ".join((error.problem or error.context or "syntax error").split())
        raise Place(name, column, line).error(f"this is not YAML: {reason}") from error
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(name, len(before) - before.rfind("\n"), before.count("\n") + 1)
        raise place.error(f"the character {chr(error.character)!r} cannot stand here") from error
    except RecursionError as error:
        raise InputError(f"{name} is nested too deeply to be {what}") from error


def read_fields(
    node: yaml.Node, name: str, what: str, required: tuple[str, ...], optional: tuple[str, ...]
) -> dict[str, yaml.Node]:
    """The values of a mapping by field name, after checking that the names are right."""
    allowed = ", ".join(required + optional)
    if not isinstance(node, yaml.MappingNode):
        raise place_of(node, name).error(f"{what} must be a mapping with the fields {allowed}")
    fields: dict[str, yaml.Node] = {}
    for label, value in node.value:
        field = read_scalar(label, name, "a field name")
        if field not in required + optional:
            raise place_of(label, name).error(f"unknown field {shown(field)}, {what} has {allowed}")
        if field in fields:
            raise place_of(label, name).error(f"{field} is given twice")
        fields[field] = value
    for field in required:
        if field not in fields:
            raise place_of(node, name).error(f"{field} is missing, {what} has {allowed}")
    return fields


def read_items(node: yaml.Node, name: str, what: str) -> dict[str, yaml.Node]:
    """The values of a mapping whose field names are free, each given once."""
    if not isinstance(node, yaml.MappingNode):
        raise place_of(node, name).error(f"{what} must be a mapping of names")
    items: dict[str, yaml.Node] = {}
    for label, value in node.value:
        item = read_scalar(label, name, "a name")
        if item in items:
            raise place_of(label, name).error(f"{item} is given twice")
        items[item] = value
    return items


def read_list(node: yaml.Node, name: str, what: str) -> list[yaml.Node]:
    """The values of a list of one or more."""
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise place_of(node, name).error(f"{what} must be a list of one or more")
    return node.value


def read_number(node: yaml.Node, name: str, what: str, low: float, high: float) -> float:
    """A plain number from `low` to `high`."""
    place = place_of(node, name)
    number = parse_number(what, read_scalar(node, name, what), place)
    if not low <= number <= high:
        raise place.error(f"{what} is {number:g}, give a number from {low:g} to {high:g}")
    return number


def read_seconds(node: yaml.Node, name: str, what: str) -> float:
    """A number of seconds, 0 or more."""
    return parse_seconds(what, read_scalar(node, name, what), place_of(node, name))


def read_scalar(node: yaml.Node, name: str, what: str) -> str:
    """The words of a single value."""
    if not isinstance(node, yaml.ScalarNode):
        raise place_of(node, name).error(f"{what} must be a single value")
    return node.value


def place_of(node: yaml.Node, name: str) -> Place:
    """Where a node's text starts, past its opening quote."""
    quoted = getattr(node, "style", None) in ("'", '"')
    return Place(name, node.start_mark.column + 1 + quoted, node.start_mark.line + 1)
