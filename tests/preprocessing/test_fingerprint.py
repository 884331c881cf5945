"""Fingerprint: a track knows its own film, however it is encoded, and no other."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import talking_frame, write_talking_clip
from made_up_films import names
from numpy.typing import NDArray

from ned.commands.direct import direct
from ned.core.errors import InputError
from ned.core.face.track import Track
from ned.core.film.clip import Clip
from ned.core.film.encoder import EncoderSettings
from ned.core.film.video import VideoWriter
from ned.options import DirectOptions
from preprocessing.fingerprint import is_of
from preprocessing.track import track_faces


@pytest.fixture(scope="module")
def track(talking_clip: Path) -> Track:
    return track_faces(Clip.open(talking_clip))[0]


def another_take(path: Path, portrait: NDArray[np.uint8]) -> Path:
    """The same actor before the same wall, a second later in his words and moves."""
    write_talking_clip(path, portrait, change=lambda _, n: talking_frame(portrait, n / 25 + 1.1))
    return path


def test_the_film_is_known_in_another_encoding(
    track: Track, talking_clip: Path, tmp_path: Path
) -> None:
    clip = Clip.open(talking_clip)
    assert is_of(track, clip.frames())
    with VideoWriter(tmp_path / "poor.mp4", clip, EncoderSettings(crf=42)) as writer:
        for frame in clip.frames():
            luma, *chroma = frame.planes  # and darker
            writer.write(frame.with_planes(((luma * 0.7).astype(luma.dtype), *chroma)))
    assert is_of(track, Clip.open(tmp_path / "poor.mp4").frames())


def test_another_film_of_the_same_face_is_not(
    track: Track, portrait: NDArray[np.uint8], tmp_path: Path
) -> None:
    assert not is_of(track, Clip.open(another_take(tmp_path / "b.mp4", portrait)).frames())


@pytest.mark.parametrize("clip", ["", "x", "[1]", '{"a": "b"}', '{"0": "zz"}', "[" * 10**5])
def test_a_missing_or_strange_fingerprint_is_no_reason(
    clip: str, track: Track, talking_clip: Path
) -> None:
    assert is_of(dataclasses.replace(track, clip=clip), Clip.open(talking_clip).frames())


def test_it_is_saved_with_the_track(track: Track, tmp_path: Path) -> None:
    assert 4 <= len(json.loads(track.clip)) <= 8
    track.save(tmp_path / "t.safetensors")
    assert Track.load(tmp_path / "t.safetensors").clip == track.clip


def test_a_performance_of_another_clip_is_refused(
    talking_clip: Path, portrait: NDArray[np.uint8], tmp_path: Path
) -> None:
    other = another_take(tmp_path / "other.mp4", portrait)
    saved = tmp_path / "p.safetensors"
    first = DirectOptions(
        clip=talking_clip,
        output=tmp_path / "a.mp4",
        emotion=("sad",),
        save_performance=saved,
        preset="ultrafast",
    )
    direct(first)
    direct(dataclasses.replace(first, save_performance=None, performance=saved, sidecar=False))
    with pytest.raises(InputError, match="made from another clip"):
        direct(
            DirectOptions(
                clip=other, output=tmp_path / "b.mp4", emotion=("sad",), performance=saved
            )
        )
    assert not any(name.startswith("b.") for name in names(tmp_path))


def test_an_actor_cannot_be_chosen_from_a_performance() -> None:
    with pytest.raises(InputError, match="give one of the two"):
        DirectOptions(
            clip=Path("a.mp4"), emotion=("sad",), actor=1, performance=Path("p.safetensors")
        )
