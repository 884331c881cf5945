"""Questions: what people are asked about clips, and how a study and its answers are named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ned.core.errors import InputError
from ned.core.script.emotions import EMOTIONS, NEUTRAL

KEY_FORMAT = "ned-study-key-1"
ANSWERS_FORMAT = "ned-study-answers-1"


@dataclass(frozen=True)
class Question:
    """One question to raters.

    Attributes:
        name: key in files; letters, digits and underscores.
        words: what raters read.
        kind: "choice" of `choices`; "scale" from 1 to `steps`; "preference" of one of two clips of
            the same take, A and B.
        choices: of a choice. steps, lowest, highest: of a scale, and the words at its ends.
    """

    name: str
    words: str
    kind: Literal["choice", "scale", "preference"]
    choices: tuple[str, ...] = ()
    steps: int = 5
    lowest: str = ""
    highest: str = ""

    def __post_init__(self) -> None:
        """Raises InputError where it cannot be asked."""
        if not (self.name.isidentifier() and self.name.isascii()):
            raise InputError(f"a question's name is {self.name!r}; use letters, digits and _")
        if self.kind == "choice" and (
            len(self.choices) < 2 or len(set(self.choices)) < len(self.choices)
        ):
            raise InputError(f"the question {self.name!r} needs two or more different choices")
        if self.kind == "scale" and not 2 <= self.steps <= 11:
            raise InputError(f"the scale of {self.name!r} has {self.steps} steps; give 2 to 11")


EMOTION = Question(
    "emotion",
    "Which emotion does the actor show?",
    "choice",
    (NEUTRAL, *(name for name in EMOTIONS if name != NEUTRAL), "none of these"),
)
REALISM = Question(
    "realism", "How real does it look?", "scale", lowest="clearly fake", highest="completely real"
)
LIPS = Question(
    "lips", "Do the lips fit the words?", "scale", lowest="not at all", highest="perfectly"
)
PREFERENCE = Question("preference", "Which of the two looks more real?", "preference")
RATINGS = (EMOTION, REALISM, LIPS)
QUESTIONS = (*RATINGS, PREFERENCE)


def study_id(key: Mapping[str, Any]) -> str:
    """The name of a study, made from its key: it changes with every word of it."""
    content = {name: value for name, value in key.items() if name != "id"}
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
