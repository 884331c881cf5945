"""Emotions of a user's own file: as documented, and refused in one line where they are wrong."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from deca.rig import load_rig
from manipulator.prototypes import (
    AMOUNT_LIMIT,
    find_prototype,
    load_prototypes,
    parse_prototypes,
)
from ned.core.errors import InputError
from ned.core.script.emotions import EMOTIONS

DOCS = Path(__file__).parents[2] / "docs" / "emotions.md"
ONE = "emotions: {smug: {variants: [{name: a, units: {corner_pull: 1}}]}}"


def documented() -> str:
    return re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.S)[0]


def test_built_in_emotions_are_the_vocabulary() -> None:
    known = load_prototypes()
    assert tuple(known) == EMOTIONS
    assert {name: one.looks_like for name, one in known.items()} == {n: n for n in EMOTIONS}


def test_the_documented_file_adds_and_replaces(tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text(documented(), encoding="utf-8")
    known, plain, rig = load_prototypes(own), load_prototypes(), load_rig()
    assert tuple(known) == (*EMOTIONS, "smug")
    smug = known["smug"]
    assert (smug.looks_like, smug.onset, smug.offset) == ("contempt", 0.4, 1.5)
    amounts = smug.amounts(rig, 0)
    assert amounts[rig.index["corner_pull_left"]] == np.float32(0.9)
    assert amounts[rig.index["corner_pull_right"]] == 0
    assert amounts[rig.index["lid_tighten_right"]] == np.float32(0.4)
    assert smug.amounts(rig, 1)[rig.index["corner_pull_right"]] == 0.5
    assert known["happy"].variants == (("content", {"corner_pull": 0.7, "cheek_raise": 0.5}),)
    assert known["happy"].looks_like == "happy"
    assert known["sad"] == plain["sad"]
    assert "smug" not in load_prototypes()  # nothing is remembered


def test_every_unit_of_the_rig_is_documented() -> None:
    rig, words = load_rig(), set(re.findall(r"`([a-z_]+)`", DOCS.read_text(encoding="utf-8")))
    for name in rig.names:
        assert {name, re.sub("_(left|right)$", "", name)} & words, name
    for word in words & {n for name in rig.names for n in (name, name[:-5], name[:-6])}:
        rig.columns(word)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1, column 1: the file is empty"),
        ("emotions: {", "this is not YAML"),
        ("- happy", "the file must be a mapping"),
        ("feelings: {}", "unknown field 'feelings'"),
        ("emotions: {}", "emotions is empty"),
        ("emotions: 3", "emotions must be a mapping"),
        ("emotions: {Smug: {variants: []}}", "'Smug' cannot be the name"),
        ("emotions: {source: {variants: []}}", "'source' cannot be the name"),
        ("emotions: {a+b: {variants: []}}", "'a+b' cannot be the name"),
        ("emotions: {smug: {variants: []}}", "variants must be a list of one or more"),
        ("emotions: {smug: {}}", "variants is missing"),
        (ONE.replace("corner_pull", "corner_pul"), "did you mean corner_pull?"),
        (
            ONE.replace(": 1}", ": 2.6}"),
            "the amount of corner_pull is 2.6, give a number from -2.5",
        ),
        (ONE.replace(": 1}", ": -2.6}"), "give a number from -2.5 to 2.5"),
        (ONE.replace(": 1}", ": .nan}"), "is not a number"),
        (ONE.replace(": 1}", ": 1, corner_pull: 1}"), "corner_pull is given twice"),
        (ONE.replace("{variants", "{looks_like: glad, variants"), "unknown emotion 'glad'"),
        (ONE.replace("{variants", "{dynamics: {wave: 2}, variants"), "wave is 2, give a number"),
        (ONE.replace("{variants", "{dynamics: {onset: 0}, variants"), "onset is 0, give a number"),
        (ONE.replace("{variants", "{dynamics: {speed: 1}, variants"), "unknown field 'speed'"),
        (ONE.replace("units", "unit"), "unknown field 'unit'"),
        ("emotions: !!python/object/apply:os.system ['true']", "emotions must be a mapping"),
    ],
)
def test_wrong_files_are_refused_in_one_line(text: str, words: str, tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_prototypes(own)
    said = str(error.value)
    assert words in said
    assert said.startswith(f"{own}, line 1, column ")
    assert "\n" not in said


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the file of emotions .*No such file"):
        load_prototypes(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        load_prototypes(tmp_path / "a.yaml")


def test_the_limit_itself_is_allowed() -> None:
    found = parse_prototypes(ONE.replace(": 1}", f": {-AMOUNT_LIMIT}}}"), load_rig())
    assert found["smug"].variants[0][1] == {"corner_pull": -AMOUNT_LIMIT}
    assert found["smug"].looks_like is None


def test_prototypes_are_found_by_other_words_too() -> None:
    assert find_prototype("Anger", load_prototypes()).name == "angry"
