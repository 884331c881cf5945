"""Prototypes: emotions as amounts of rig units, read from configs/emotions.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from deca.rig import Rig
from ned.core.errors import InputError


@dataclass(frozen=True)
class Prototype:
    """One emotion at intensity 1.

    Attributes:
        name: the label, such as "happy".
        variants: name of each variant -> unit name -> amount.
        onset, offset: seconds to and from the apex of a passing wave.
        wave: share of the expression that comes and goes.
        accent: extra share where the actor speaks with force.
    """

    name: str
    variants: tuple[tuple[str, dict[str, float]], ...]
    onset: float
    offset: float
    wave: float
    accent: float

    def amounts(self, rig: Rig, variant: int) -> NDArray[np.float32]:
        """(U,) activations of a variant; numbers beyond the last start again at the first."""
        target = np.zeros(len(rig), np.float32)
        for unit, amount in self.variants[variant % len(self.variants)][1].items():
            target[list(rig.columns(unit))] += amount
        return target


@lru_cache(maxsize=1)
def load_prototypes() -> dict[str, Prototype]:
    """All emotions, by name, in the order of the file."""
    import yaml

    text = resources.files("configs").joinpath("emotions.yaml").read_text(encoding="utf-8")
    data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {
        name: Prototype(
            name=name,
            variants=tuple((v["name"], dict(v["units"])) for v in entry["variants"]),
            **entry["dynamics"],
        )
        for name, entry in data["emotions"].items()
    }


def find_prototype(name: str) -> Prototype:
    """The prototype of an emotion; InputError names the known ones."""
    known = load_prototypes()
    if name not in known:
        raise InputError(f"unknown emotion '{name}'; known: {', '.join(known)}")
    return known[name]
