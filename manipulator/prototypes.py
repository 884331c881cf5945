"""Prototypes: emotions as amounts of rig units, ours (configs/emotions.yaml) and a user's own."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from deca.rig import Rig, load_rig
from ned.core.script.emotions import EMOTIONS, check_name, find_emotion
from ned.core.script.notation import Place
from ned.core.script.yaml_nodes import (
    compose,
    place_of,
    read_fields,
    read_items,
    read_list,
    read_number,
    read_scalar,
    read_text,
)

AMOUNT_LIMIT = 2.5
"""Largest amount of a unit at intensity 1, to either side."""

_LONGEST = 60.0  # seconds of an onset or offset
_LARGEST_FILE = 1_000_000  # bytes
_DYNAMICS = {"onset": 0.5, "offset": 1.0, "wave": 0.12, "accent": 0.1}


@dataclass(frozen=True)
class Prototype:
    """One emotion at intensity 1.

    Attributes:
        name: the label, such as "happy".
        variants: name of each variant -> unit name -> amount.
        onset, offset: seconds to and from the apex of a passing wave.
        wave: share of the expression that comes and goes.
        accent: extra share where the actor speaks with force.
        looks_like: the built-in emotion that classifiers should take it for, None if there is none.
    """

    name: str
    variants: tuple[tuple[str, dict[str, float]], ...]
    onset: float
    offset: float
    wave: float
    accent: float
    looks_like: str | None = None

    def amounts(self, rig: Rig, variant: int) -> NDArray[np.float32]:
        """(U,) activations of a variant; numbers beyond the last start again at the first."""
        target = np.zeros(len(rig), np.float32)
        for unit, amount in self.variants[variant % len(self.variants)][1].items():
            target[list(rig.columns(unit))] += amount
        return target


Prototypes = Mapping[str, Prototype]
"""The emotions that exist, by name."""


def load_prototypes(own: Path | None = None, rig: Rig | None = None) -> dict[str, Prototype]:
    """The built-in emotions by name, in the order of their file, then those of a user's `own` file.

    An emotion of the user's file that has a built-in one's name takes its place.

    Raises:
        InputError: The file cannot be read, or something in it is wrong; says where.
    """
    rig = rig or load_rig()
    known = dict(_built_in())
    if own is not None:
        known |= parse_prototypes(read_text(own, "file of emotions", _LARGEST_FILE), rig, str(own))
    return known


@lru_cache(maxsize=1)
def _built_in() -> dict[str, Prototype]:
    """Those of configs/emotions.yaml, which never change."""
    text = resources.files("configs").joinpath("emotions.yaml").read_text(encoding="utf-8")
    return parse_prototypes(text, load_rig(), "emotions.yaml")


def parse_prototypes(text: str, rig: Rig, name: str = "emotions") -> dict[str, Prototype]:
    """Emotions from YAML text laid out as configs/emotions.yaml (docs/emotions.md); `name` stands
    in front of errors.

    Raises:
        InputError: Something is wrong; names the line and column.
    """
    root = compose(text, name, "a file of emotions")
    if root is None:
        raise Place(name, 1, 1).error("the file is empty, give emotions: (docs/emotions.md)")
    fields = read_fields(root, name, "the file", ("emotions",), ())
    found: dict[str, Prototype] = {}
    for emotion, node in read_items(fields["emotions"], name, "emotions").items():
        with place_of(node, name):
            check_name(emotion)
        found[emotion] = _prototype(emotion, node, rig, name)
    if not found:
        raise place_of(fields["emotions"], name).error("emotions is empty, give one or more")
    return found


def find_prototype(word: str, known: Prototypes) -> Prototype:
    """The prototype that a word means; InputError names the known ones and the nearest."""
    return known[find_emotion(word, known)]


def _prototype(emotion: str, node: yaml.Node, rig: Rig, name: str) -> Prototype:
    fields = read_fields(node, name, emotion, ("variants",), ("dynamics", "looks_like"))
    dynamics = dict(_DYNAMICS)
    if "dynamics" in fields:
        given = read_fields(fields["dynamics"], name, "dynamics", (), tuple(_DYNAMICS))
        for key, value in given.items():
            most = _LONGEST if key in ("onset", "offset") else 1.0
            dynamics[key] = read_number(value, name, key, 0.05 if most > 1 else 0.0, most)
    variants = []
    for item in read_list(fields["variants"], name, "variants"):
        parts = read_fields(item, name, "a variant", ("name", "units"), ())
        units = read_items(parts["units"], name, "units")
        amounts = {unit: _amount(unit, value, rig, name) for unit, value in units.items()}
        variants.append((read_scalar(parts["name"], name, "name"), amounts))
    looks_like = None
    if "looks_like" in fields:
        with place_of(fields["looks_like"], name):
            looks_like = find_emotion(read_scalar(fields["looks_like"], name, "looks_like"))
    elif emotion in EMOTIONS:
        looks_like = emotion
    return Prototype(emotion, tuple(variants), **dynamics, looks_like=looks_like)


def _amount(unit: str, node: yaml.Node, rig: Rig, name: str) -> float:
    try:
        rig.columns(unit)
    except KeyError as error:
        near = difflib.get_close_matches(unit, _unit_names(rig), n=1)
        guess = f"; did you mean {near[0]}?" if near else ""
        words = f"unknown unit {unit!r}, docs/emotions.md lists them{guess}"
        raise place_of(node, name).error(words) from error
    return read_number(node, name, f"the amount of {unit}", -AMOUNT_LIMIT, AMOUNT_LIMIT)


def _unit_names(rig: Rig) -> list[str]:
    """Names of units, of sided ones also without their side."""
    both = {name.removesuffix("_left") for name in rig.names if name.endswith("_left")}
    return [*rig.names, *sorted(name for name in both if f"{name}_right" in rig.index)]
