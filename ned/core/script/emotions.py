"""Emotions: the one vocabulary; every list, table and file of them refers to the names here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from ned.core.errors import InputError

HAPPY = "happy"
SAD = "sad"
ANGRY = "angry"
SURPRISED = "surprised"
FEAR = "fear"
DISGUSTED = "disgusted"
CONTEMPT = "contempt"
NEUTRAL = "neutral"
CALM = "calm"
"""Of RAVDESS alone; no built-in emotion looks like it."""

EMOTIONS = (HAPPY, SAD, ANGRY, SURPRISED, FEAR, DISGUSTED, CONTEMPT, NEUTRAL)
"""The built-in ones, in the order in which they are told."""

NED_LABELS = (NEUTRAL, ANGRY, DISGUSTED, FEAR, HAPPY, SAD, SURPRISED)
"""In the order of heads and scores of NED's checkpoints."""

AFF_WILD2_LABELS = (NEUTRAL, ANGRY, DISGUSTED, FEAR, HAPPY, SAD, SURPRISED)
"""Numbers 0 to 6 in the annotations of Aff-Wild2 (Kollias and Zafeiriou 2019)."""

SYNTHETIC_LABELS = (*NED_LABELS, CONTEMPT)
"""Of made-up performances, and of the networks that ship for the rig."""

CREMA_D_LABELS = {
    "ANG": ANGRY,
    "DIS": DISGUSTED,
    "FEA": FEAR,
    "HAP": HAPPY,
    "NEU": NEUTRAL,
    "SAD": SAD,
}
"""Codes in the file names of CREMA-D (Cao et al. 2014)."""

RAVDESS_LABELS = {
    "01": NEUTRAL,
    "02": CALM,
    "03": HAPPY,
    "04": SAD,
    "05": ANGRY,
    "06": FEAR,
    "07": DISGUSTED,
    "08": SURPRISED,
}
"""Third number in the file names of RAVDESS (Livingstone and Russo 2018)."""

ALIASES = {
    "happiness": HAPPY,
    "sadness": SAD,
    "anger": ANGRY,
    **dict.fromkeys(("surprise", "astonished"), SURPRISED),
    **dict.fromkeys(("fearful", "afraid", "scared"), FEAR),
    "disgust": DISGUSTED,
    **dict.fromkeys(("contemptuous", "scorn"), CONTEMPT),
    "neutrality": NEUTRAL,
}
"""Other words for built-in emotions, as people say and data sets (MEAD, Aff-Wild2, RAVDESS,
AffectNet) write them."""

SOURCE = "source"
"""The word for no emotion at all: the performance as it was recorded."""

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}", re.ASCII)


def find_emotion(word: str, known: Iterable[str] = EMOTIONS) -> str:
    """The known emotion that a word means, in any case: its name, or another word for it.

    Raises:
        InputError: There is none; says which known one is nearest.
    """
    known = tuple(known)
    name = _words(known).get(word.strip().lower())
    if name is None:
        raise InputError(unknown_emotion(word.strip(), known))
    return name


def unknown_emotion(word: str, known: Iterable[str] = EMOTIONS) -> str:
    """The message for a word that means no known emotion."""
    words = _words(known)
    near = difflib.get_close_matches(word.lower(), words, n=1)
    guess = f"; did you mean {words[near[0]]}?" if near else ""
    names = ", ".join(dict.fromkeys(known))
    return f"unknown emotion {word!r}, known are {names} and {SOURCE} (as recorded){guess}"


def emotions_in(text: str, known: Iterable[str] = EMOTIONS) -> list[str]:
    """The known emotions that a text such as a file's name speaks of, in its order."""
    words = _words(known)
    longest = sorted(map(re.escape, words), key=len, reverse=True)
    letter = r"[^\W\d_]"
    found = re.findall(f"(?<!{letter})({'|'.join(longest)})(?!{letter})", text.lower())
    return [words[word] for word in found]


def check_name(name: str) -> None:
    """Raise InputError unless a new emotion can have that name."""
    if not _NAME.fullmatch(name) or name == SOURCE:
        raise InputError(
            f"{name!r} cannot be the name of an emotion; give a word of small letters, digits, - "
            f"and _ that begins with a letter and is not {SOURCE}"
        )


def _words(known: Iterable[str]) -> dict[str, str]:
    """Every word for the known emotions, and which of them it means."""
    names = {name: name for name in known}
    return {word: name for word, name in ALIASES.items() if name in names} | names
