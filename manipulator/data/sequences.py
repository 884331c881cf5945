"""Sequences: labelled expressions of an actor's clips, as NED's manipulator learns from them."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deca.flame_codes import EXPRESSION, FlameCodes
from ned.core.errors import InputError, quoted
from ned.core.files.records import write_atomically

COLUMNS = 3 + EXPRESSION
_PROTOCOL = 2  # what every Python 3 reads


@dataclass(frozen=True, eq=False)
class ExpressionSequence:
    """One clip.

    Attributes:
        values: (T, 53) float32, axis-angle of the jaw in radians, then 50 expression codes.
        emotion: its label.
    """

    values: NDArray[np.float32]
    emotion: str

    @classmethod
    def of(cls, codes: FlameCodes, emotion: str) -> ExpressionSequence:
        """What codes say of jaw and expression."""
        return cls(np.concatenate([codes.pose[:, 3:], codes.expression], axis=1), emotion)


def write_sequences(path: Path, sequences: Sequence[ExpressionSequence]) -> None:
    """Write NED's {actor}_deca.pkl: a pickled list of (array, emotion); raises OutputError."""
    items = [(np.ascontiguousarray(one.values, np.float32), one.emotion) for one in sequences]
    write_atomically(path, pickle.dumps(items, _PROTOCOL))


def read_sequences(path: Path) -> list[ExpressionSequence]:
    """Read NED's {actor}_deca.pkl, without running anything in it.

    Raises:
        InputError: It is missing, damaged or of another kind.
    """
    from ned.core.files.pickles import load_pickle

    items = load_pickle(path)
    if not isinstance(items, list | tuple) or not len(items):
        raise InputError(f"{quoted(path)} holds no list of clips")
    found = []
    for number, item in enumerate(items):
        if not isinstance(item, list | tuple) or len(item) != 2:
            raise InputError(f"{quoted(path)}: clip {number} is no pair of numbers and emotion")
        values, emotion = np.asarray(item[0]), item[1]
        if values.dtype.kind != "f" or values.ndim != 2 or values.shape[1] != COLUMNS:
            raise InputError(
                f"{quoted(path)}: clip {number} is {values.shape}, (frames, {COLUMNS}) is needed"
            )
        if not np.isfinite(values).all():
            raise InputError(f"{quoted(path)}: clip {number} holds values that are no numbers")
        if not isinstance(emotion, str):
            raise InputError(f"{quoted(path)}: clip {number} has {emotion!r} for an emotion")
        found.append(ExpressionSequence(values.astype(np.float32), str(emotion)))
    return found
