"""Take: a timeline written in a YAML file; every error names the line and column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from ned.core.errors import InputError
from ned.core.files.yaml_files import compose, shown
from ned.core.script.notation import Place, check_order, parse_mixture, parse_seconds
from ned.core.script.timeline import EASE_SECONDS, Key, Timeline

_LARGEST_FILE = 600_000  # bytes
_MOST_KEYS = 10_000  # a key for every frame of several minutes


def load_timeline(source: str, known: Sequence[str]) -> Timeline:
    """Read what --timeline was given: the name of a .yaml file, or the keys themselves.

    Raises:
        InputError: The file or text cannot be read; names the line and column.
    """
    if source.lower().endswith((".yaml", ".yml", ".json")):
        return read_take(Path(source), known)
    return Timeline.parse(source, known)


def read_take(path: Path, known: Sequence[str]) -> Timeline:
    """Read the timeline in a .yaml (or .json) file.

    Args:
        path: The file; docs/timeline.md describes what is in it.
        known: Names of the emotions that exist.

    Raises:
        InputError: The file cannot be read or something in it is wrong.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise InputError(f"{path} is larger than a timeline can be ({_LARGEST_FILE} bytes)")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"cannot read the timeline {path}: {reason}") from error
    return parse_take(text, known, str(path))


def parse_take(text: str, known: Sequence[str], name: str = "take") -> Timeline:
    """Read a timeline from YAML text; `name` stands in front of errors.

    Raises:
        InputError: Something is wrong; names the line and column.
    """
    root = _compose(text, name)
    if root is None:
        raise Place(name, 1, 1).error("the file is empty, give keys: with at: and emotion:")
    fields = _fields(root, name, "the file", ("keys",), ("ease",))
    ease = _seconds(fields["ease"], name, "ease") if "ease" in fields else EASE_SECONDS
    items = fields["keys"]
    place = _place(items, name)
    if not isinstance(items, yaml.SequenceNode):
        raise place.error("keys must be a list, one '- {at: 0, emotion: happy}' per line")
    if not items.value:
        raise place.error("keys is empty, give at least one, such as '- {at: 0, emotion: happy}'")
    if len(items.value) > _MOST_KEYS:
        raise place.error(f"there are {len(items.value)} keys, give at most {_MOST_KEYS}")
    keys: list[Key] = []
    for item in items.value:
        key = _key(item, known, name, ease)
        with _place(item, name):
            check_order(keys[-1].time if keys else -1.0, key.time)
        keys.append(key)
    return Timeline(tuple(keys))


def _compose(text: str, name: str) -> yaml.Node | None:
    """The syntax tree of YAML text; nothing is constructed, so no tag can run anything."""
    try:
        return compose(text)
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
        raise InputError(f"{name} is nested too deeply to be a timeline") from error


def _key(node: yaml.Node, known: Sequence[str], name: str, ease: float) -> Key:
    fields = _fields(node, name, "a key", ("at", "emotion"), ("ease",))
    return Key(
        _seconds(fields["at"], name, "at"),
        parse_mixture(
            _scalar(fields["emotion"], name, "emotion"), known, _place(fields["emotion"], name)
        ),
        _seconds(fields["ease"], name, "ease") if "ease" in fields else ease,
    )


def _fields(
    node: yaml.Node, name: str, what: str, required: tuple[str, ...], optional: tuple[str, ...]
) -> dict[str, yaml.Node]:
    """The values of a mapping by field name, after checking that the names are right."""
    allowed = ", ".join(required + optional)
    if not isinstance(node, yaml.MappingNode):
        raise _place(node, name).error(f"{what} must be a mapping with the fields {allowed}")
    fields: dict[str, yaml.Node] = {}
    for label, value in node.value:
        field = _scalar(label, name, "a field name")
        if field not in required + optional:
            raise _place(label, name).error(f"unknown field {shown(field)}, {what} has {allowed}")
        if field in fields:
            raise _place(label, name).error(f"{field} is given twice")
        fields[field] = value
    for field in required:
        if field not in fields:
            raise _place(node, name).error(f"{field} is missing, {what} has {allowed}")
    return fields


def _seconds(node: yaml.Node, name: str, what: str) -> float:
    return parse_seconds(what, _scalar(node, name, what), _place(node, name))


def _scalar(node: yaml.Node, name: str, what: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _place(node, name).error(f"{what} must be a single value")
    return node.value


def _place(node: yaml.Node, name: str) -> Place:
    """Where a node's text starts, past its opening quote."""
    quoted = getattr(node, "style", None) in ("'", '"')
    return Place(name, node.start_mark.column + 1 + quoted, node.start_mark.line + 1)
