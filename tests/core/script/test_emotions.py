"""The one vocabulary: every word of data sets means one of its names, and names stand once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ned.core.errors import InputError
from ned.core.script import emotions
from ned.core.script.emotions import (
    AFF_WILD2_LABELS,
    ALIASES,
    CALM,
    CREMA_D_LABELS,
    EMOTIONS,
    NED_LABELS,
    RAVDESS_LABELS,
    SYNTHETIC_LABELS,
    emotions_in,
    find_emotion,
)
from ned.core.script.notation import parse_mixture

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("word", "name"),
    [
        *((name, name) for name in EMOTIONS),
        ("Anger", "angry"), ("Disgust", "disgusted"), ("Fear", "fear"), ("Happiness", "happy"),
        ("Sadness", "sad"), ("Surprise", "surprised"), ("Neutral", "neutral"),  # Aff-Wild2
        ("fearful", "fear"), (" HAPPY ", "happy"), ("afraid", "fear"),
    ],
)  # fmt: skip
def test_words_of_data_sets_mean_our_names(word: str, name: str) -> None:
    assert find_emotion(word) == name


def test_tables_speak_of_known_emotions_alone() -> None:
    assert set(ALIASES.values()) <= set(EMOTIONS)
    assert not set(ALIASES) & set(EMOTIONS)
    for table in (NED_LABELS, AFF_WILD2_LABELS, SYNTHETIC_LABELS, tuple(CREMA_D_LABELS.values())):
        assert len(set(table)) == len(table)
        assert set(table) <= set(EMOTIONS)
    assert set(RAVDESS_LABELS.values()) - set(EMOTIONS) == {CALM}


def test_the_order_of_published_checkpoints() -> None:
    assert NED_LABELS == ("neutral", "angry", "disgusted", "fear", "happy", "sad", "surprised")
    assert NED_LABELS == AFF_WILD2_LABELS == SYNTHETIC_LABELS[:-1]


def test_own_names_come_before_other_words() -> None:
    assert find_emotion("anger", (*EMOTIONS, "anger")) == "anger"
    with pytest.raises(InputError, match="unknown emotion 'anger'"):
        find_emotion("anger", ("happy", "sad"))  # of networks that do not know angry
    assert parse_mixture("Anger:0.5+smug", (*EMOTIONS, "smug")) == {"angry": 0.5, "smug": 1.0}
    with pytest.raises(InputError, match="angry is given twice"):
        parse_mixture("anger+angry", EMOTIONS)


@pytest.mark.parametrize(
    ("word", "guess"), [("hapy", "happy"), ("disgusting", "disgusted"), ("sadnes", "sad")]
)
def test_unknown_words_get_the_nearest(word: str, guess: str) -> None:
    with pytest.raises(InputError, match=rf"unknown emotion '{word}'.*did you mean {guess}\?"):
        find_emotion(word)
    with pytest.raises(InputError) as error:
        find_emotion("qqqq")
    assert "did you mean" not in str(error.value)


def test_emotions_in_names_of_files() -> None:
    assert emotions_in("take2_happy_v3") == ["happy"]
    assert emotions_in("unhappy-fearsome") == []
    assert emotions_in("M003_anger_sad2") == ["angry", "sad"]
    assert emotions_in("clip_half_smile_2", ("half_smile", "happy")) == ["half_smile"]


def test_names_stand_in_one_module_alone() -> None:
    """Product code takes emotions from the vocabulary; only help texts and demos spell them out."""
    spelled = re.compile(r'"(disgusted|contempt|surprised|angry)"')
    rooms = ("ned", "manipulator", "deca", "preprocessing", "renderer", "postprocessing")
    found = {
        str(path.relative_to(ROOT))
        for room in rooms
        for path in (ROOT / room).rglob("*.py")
        if spelled.search(path.read_text(encoding="utf-8"))
    }
    assert found == {str(Path(emotions.__file__).relative_to(ROOT))}
