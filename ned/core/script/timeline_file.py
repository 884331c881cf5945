"""Take: a timeline written in a YAML file; every error names the line and column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from ned.core.script.notation import Place, check_order, parse_mixture
from ned.core.script.timeline import EASE_SECONDS, Key, Timeline
from ned.core.script.yaml_nodes import (
    compose,
    place_of,
    read_fields,
    read_scalar,
    read_seconds,
    read_text,
)

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
    text = read_text(path, "timeline", _LARGEST_FILE)
    return parse_take(text, known, str(path))


def parse_take(text: str, known: Sequence[str], name: str = "take") -> Timeline:
    """Read a timeline from YAML text; `name` stands in front of errors.

    Raises:
        InputError: Something is wrong; names the line and column.
    """
    root = compose(text, name, "a timeline")
    if root is None:
        raise Place(name, 1, 1).error("the file is empty, give keys: with at: and emotion:")
    fields = read_fields(root, name, "the file", ("keys",), ("ease",))
    ease = read_seconds(fields["ease"], name, "ease") if "ease" in fields else EASE_SECONDS
    items = fields["keys"]
    place = place_of(items, name)
    if not isinstance(items, yaml.SequenceNode):
        raise place.error("keys must be a list, one '- {at: 0, emotion: happy}' per line")
    if not items.value:
        raise place.error("keys is empty, give at least one, such as '- {at: 0, emotion: happy}'")
    if len(items.value) > _MOST_KEYS:
        raise place.error(f"there are {len(items.value)} keys, give at most {_MOST_KEYS}")
    keys: list[Key] = []
    for item in items.value:
        key = _key(item, known, name, ease)
        with place_of(item, name):
            check_order(keys[-1].time if keys else -1.0, key.time)
        keys.append(key)
    return Timeline(tuple(keys))


def _key(node: yaml.Node, known: Sequence[str], name: str, ease: float) -> Key:
    fields = read_fields(node, name, "a key", ("at", "emotion"), ("ease",))
    return Key(
        read_seconds(fields["at"], name, "at"),
        parse_mixture(
            read_scalar(fields["emotion"], name, "emotion"),
            known,
            place_of(fields["emotion"], name),
        ),
        read_seconds(fields["ease"], name, "ease") if "ease" in fields else ease,
    )
