"""Face models: a third one is a module with a class, and a line in the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import write_talking_clip
from numpy.typing import NDArray

from deca.face_models import FACE_MODELS, drawing_model, open_face_model
from ned.commands.preprocess import preprocess
from ned.core.errors import InputError
from ned.core.face.face_model import Conditioning, Pictures
from ned.core.face.performance import Performance, face_model_of
from ned.core.face.track import Track
from ned.core.files.actor import Actor
from ned.core.film.image_files import read_image
from ned.core.progress import SILENT, Progress
from ned.options.preprocess import PreprocessOptions
from renderer.experiment_conditioning import draw_inputs


class Disc:
    """A toy: a face is a disc around its box, as grey as the mouth is open; one unit."""

    name = "disc"
    fingerprint = "disc-1"
    of_pixels = False
    unit_names = ("jaw_open",)

    def __init__(self, device: str) -> None:
        self.device = device

    def check(self) -> None: ...

    def heads(self, units: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        corners = np.array([[0, 1, 0], [-1, -1, 0], [1, -1, 0]], np.float32)
        return np.tile(corners, (len(units), 1, 1)), np.array([[0, 1, 2]], np.int32)

    def fit(
        self,
        track: Track,
        crop_from_image: NDArray[np.floating],
        count: int,
        progress: Progress = SILENT,
    ) -> Performance:
        points = track.landmarks()
        opening = (points[:, 14, 1] - points[:, 13, 1]) / (points[:, 152, 1] - points[:, 10, 1])
        return Performance(
            face_model=self.name,
            source="disc",
            unit_names=self.unit_names,
            units=np.nan_to_num(opening)[:, None].astype(np.float32),
            identity=np.zeros(0, np.float32),
            parameters={"height": np.nan_to_num(points[:, 152, 1] - points[:, 10, 1])},
            track=track,
        )

    def encode(self, *given: object) -> Performance:
        raise NotImplementedError

    def draw(
        self,
        performance: Performance,
        rows: NDArray[np.int64],
        crop_from_image: NDArray[np.floating],
        aligned_from_crop: NDArray[np.floating] | None = None,
    ) -> tuple[Pictures, Pictures]:
        return self._discs(performance.units[rows, 0])

    def condition(
        self,
        performance: Performance,
        rows: NDArray[np.int64],
        crop_from_image: NDArray[np.floating],
        aligned_from_crop: NDArray[np.floating],
        filmed_eyes: NDArray[np.floating],
    ) -> Conditioning:
        return Conditioning(*self._discs(performance.shown[rows, 0]), eyes=filmed_eyes)

    def _discs(self, opening: NDArray[np.float32]) -> tuple[Pictures, Pictures]:
        y, x = np.mgrid[0:256, 0:256] - 127.5
        grey = np.clip(np.rint(255 * opening), 0, 255).astype(np.uint8)
        pictures = (np.hypot(x, y) < 100)[None, ..., None] * grey[:, None, None, None]
        return np.repeat(pictures, 3, 3), np.repeat(pictures, 3, 3)


@pytest.fixture
def actor(portrait: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Actor:
    """Five frames, prepared with the toy."""
    monkeypatch.setitem(FACE_MODELS, "disc", Disc)
    actor = Actor(tmp_path / "actor")
    (actor.folder / "videos").mkdir(parents=True)
    write_talking_clip(actor.folder / "videos" / "a.mp4", portrait, 0.2, (240, 240))
    preprocess(PreprocessOptions(actor.folder, "test", reconstructor="disc"))
    return actor


def test_a_third_face_model_goes_through_the_staged_road(actor: Actor) -> None:
    performance = Performance.load(actor.performance_file(actor.videos[0]))
    assert face_model_of(actor) == performance.face_model == performance.source == "disc"
    assert len(performance) == 5 and performance.frames.tolist() == list(range(5))
    grey = read_image(actor.frame_file("nmfcs_aligned", 2))[128, 128]
    assert grey.tolist() == [np.rint(255 * performance.units[2, 0])] * 3

    experiment = actor.experiment("open")
    experiment.performances_folder.mkdir(parents=True)
    performance.directed = performance.units + 0.5
    performance.save(experiment.performances_folder / "a.safetensors")
    draw_inputs(actor, experiment)
    drawn = read_image(experiment.frame_file("nmfcs_aligned", 2))[128, 128]
    assert drawn.tolist() == [np.rint(255 * (performance.units[2, 0] + 0.5))] * 3


def test_an_experiment_of_another_face_is_refused(actor: Actor) -> None:
    experiment = actor.experiment("open")
    experiment.performances_folder.mkdir(parents=True)
    performance = Performance.load(actor.performance_file(actor.videos[0]))
    performance.face_model = "square"
    performance.save(experiment.performances_folder / "a.safetensors")
    with pytest.raises(InputError, match="made with the square face, the actor is preprocessed"):
        draw_inputs(actor, experiment)


def test_unknown_face_models_are_named() -> None:
    with pytest.raises(
        InputError, match="face model 'cube' is unknown; --reconstructor takes rig, deca"
    ):
        open_face_model("cube")


def test_what_draws_a_performance_is_what_made_it(actor: Actor) -> None:
    performance = Performance.load(actor.performance_file(actor.videos[0]))
    assert isinstance(drawing_model(performance), Disc)
