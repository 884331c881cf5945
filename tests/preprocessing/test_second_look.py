"""Second look: dark and sideways footage of the talking portrait."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import talking_frame
from numpy.typing import NDArray

from ned.core.errors import InputError, NoFaceError
from ned.core.film.clip import Clip
from ned.core.film.turned import turned
from preprocessing import track as tracking
from preprocessing.track import track_faces

Image = NDArray[np.uint8]


@dataclass
class Still:
    image: Image
    time: float

    def rgb(self) -> Image:
        return self.image


@dataclass
class ActorVideo:
    images: list[Image]
    passes: int = 0

    @property
    def size(self) -> tuple[int, int]:
        return self.images[0].shape[1], self.images[0].shape[0]

    @property
    def frame_count(self) -> int:
        return len(self.images)

    def frames(self) -> Iterator[Still]:
        self.passes += 1
        return (Still(image, index / 25) for index, image in enumerate(self.images))


def talking(portrait: Image, count: int = 8) -> list[Image]:
    return [talking_frame(portrait, index / 25, (256, 256)) for index in range(count)]


def under_exposed(image: Image, seed: int) -> Image:
    noise = np.random.default_rng(seed).normal(0, 20, image.shape)
    return np.clip(image * 0.22 + noise, 0, 255).astype(np.uint8)


def test_a_face_in_the_dark_is_found(portrait: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [under_exposed(image, n) for n, image in enumerate(talking(portrait))]
    track = track_faces(ActorVideo(images))[0]
    bright = track_faces(ActorVideo(talking(portrait)))[0]
    assert track.present.all()
    assert np.abs(track.boxes - bright.boxes).max() < 0.1 * bright.mean_height
    monkeypatch.setattr(tracking, "is_dark", lambda images: False)
    with pytest.raises(NoFaceError):  # it is the second look that finds it
        track_faces(ActorVideo(images))


def test_darkness_is_named_where_nothing_is_found() -> None:
    noise = np.random.default_rng(1).integers(0, 30, (4, 120, 160, 3)).astype(np.uint8)
    with pytest.raises(NoFaceError, match="very dark; brighten it"):
        track_faces(ActorVideo(list(noise)))


def test_ordinary_footage_is_read_once(portrait: Image) -> None:
    reel = ActorVideo(talking(portrait))
    track_faces(reel)
    assert reel.passes == 1


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_footage_on_its_side_is_recognised(degrees: int, portrait: Image) -> None:
    images = [np.rot90(image, degrees // 90).copy() for image in talking(portrait)]
    with pytest.raises(NoFaceError, match=f"turned by {degrees} degrees clockwise") as caught:
        track_faces(ActorVideo(images))
    assert f"--rotate {degrees}" in str(caught.value)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_turned_clip_shows_its_frames_turned(degrees: int, talking_clip: Path) -> None:
    clip = Clip.open(talking_clip)
    twice = turned(turned(clip, degrees), degrees)
    plain, one, two = (next(each.frames()).rgb() for each in (clip, turned(clip, degrees), twice))
    assert np.array_equal(one, np.rot90(plain, -degrees // 90))
    assert np.array_equal(two, np.rot90(plain, -2 * degrees // 90))
    assert turned(clip, degrees).rotation == degrees


def test_pictures_are_not_turned(still_image: Path) -> None:
    with pytest.raises(InputError, match="is a picture; turn and save it"):
        turned(Clip.open(still_image, duration=1.0), 90)
