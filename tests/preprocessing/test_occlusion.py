"""Occlusion: what is planted before a talking face is found in its frames, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import write_talking_clip
from numpy.typing import NDArray

from deca.fitting import fit
from deca.rig import load_rig
from ned.core.face.track import Track
from ned.core.film.clip import Clip
from preprocessing.occlusion import WidePatch, face_patch
from preprocessing.track import track_faces
from renderer.strength import edit_strength, skipped_frames

Image = NDArray[np.uint8]
FACE = (120, 80, 370, 360)  # x0, y0, x1, y1 of the talking face and some more


def card(image: Image) -> Image:
    image = image.copy()
    image[FACE[1] : FACE[3], FACE[0] : FACE[2]] = (235, 230, 215)
    return image


def hand(image: Image) -> Image:
    image, skin = image.copy(), (200, 150, 125)
    return np.asarray(cv2.ellipse(image, (245, 230), (85, 110), 20, 0, 360, skin, -1), np.uint8)


def flash(image: Image) -> Image:
    return np.clip(image * 0.15 + 225, 0, 255).astype(np.uint8)


def black(image: Image) -> Image:
    return np.zeros_like(image)


def brighter(image: Image) -> Image:
    return np.clip(image + 50.0, 0, 255).astype(np.uint8)


def darker(image: Image) -> Image:
    return (image * 0.5).astype(np.uint8)


def blurred(image: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 8), np.uint8)


def planted(
    path: Path, portrait: Image, change: Callable[[Image], Image], frames: range
) -> list[Track]:
    """The tracks of the talking clip with a change in some of its frames."""
    write_talking_clip(path, portrait, change=lambda i, n: change(i) if n in frames else i)
    return track_faces(Clip.open(path))


@pytest.mark.parametrize(
    ("change", "frames"),
    [
        (card, range(20, 23)),
        (hand, range(20, 26)),
        (flash, range(20, 22)),
        (black, range(20, 21)),
        (card, range(20)),  # at the beginning, and longer than a gap that is filled
        (hand, range(45, 50)),  # at the end
    ],
)
def test_what_lies_over_a_face_is_found(
    change: Callable[[Image], Image], frames: range, portrait: Image, tmp_path: Path
) -> None:
    track = planted(tmp_path / "clip.mp4", portrait, change, frames)[0]
    if frames.start == 0:
        assert not track.present[list(frames)].any()
        assert not track.hidden[frames.stop :].any()
        return
    assert np.flatnonzero(track.hidden).tolist() == list(frames)
    performance = fit(track, load_rig())
    strength = edit_strength(performance)
    assert not strength[list(frames)].any()
    assert (strength[: frames.start] > 0.9).all()  # no fade: the change is sudden
    assert (strength[frames.stop :] > 0.9).all()
    assert skipped_frames(performance, strength) == [(frames.start, frames.stop - 1, "hidden")]


@pytest.mark.parametrize("change", [brighter, darker, blurred])
def test_a_face_that_can_be_seen_is_not_hidden(
    change: Callable[[Image], Image], portrait: Image, tmp_path: Path
) -> None:
    track = planted(tmp_path / "clip.mp4", portrait, change, range(20, 23))[0]
    assert track.present.all()
    assert not track.hidden.any()
    lasting = planted(tmp_path / "lasting.mp4", portrait, change, range(20, 50))[0]
    assert not lasting.hidden.any()


def test_a_hand_that_is_missed_by_the_mesh_is_no_reason_to_fill_the_gap(
    portrait: Image, tmp_path: Path
) -> None:
    """A short gap is filled where its picture looks like a face, not where it does not."""
    clip = Clip.open(written(tmp_path / "plain.mp4", portrait))
    track = track_faces(clip)[0]
    images = [frame.rgb() for frame in clip.frames()]
    points = track.landmarks()
    seen = WidePatch.take(images[21], points[19]).patch(points[21])
    same = face_patch(images[21], points[21], track.boxes[21])
    assert np.corrcoef(seen.ravel(), same.ravel())[0, 1] > 0.9
    covered = WidePatch.take(hand(images[21]), points[19]).patch(points[21])
    assert np.corrcoef(covered.ravel(), same.ravel())[0, 1] < 0.5


def written(path: Path, portrait: Image) -> Path:
    write_talking_clip(path, portrait)
    return path


@pytest.mark.parametrize("name", ["film_720p.mp4", "glasses_224.mp4", "talk_512.mp4"])
def test_nothing_is_hidden_in_ordinary_footage(name: str, shared_clips: Path) -> None:
    for track in track_faces(Clip.open(shared_clips / name)):
        assert not track.hidden.any()
