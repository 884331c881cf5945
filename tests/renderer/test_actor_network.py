"""Faces drawn by an actor's network go straight into the frames of a clip, and nowhere else."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import write_talking_clip
from numpy.typing import NDArray

import ned.commands.direct
from deca.rig import Rig, load_rig
from ned.cli import main
from ned.commands.direct import direct
from ned.commands.preprocess import preprocess
from ned.commands.train_renderer import train_renderer
from ned.core.errors import InputError
from ned.core.face.performance import Performance
from ned.core.files.actor import Actor
from ned.core.film.clip import Clip, Frame
from ned.core.film.planes import convert, picture_from_planes, planes_of, samples_of_rgb
from ned.options import DirectOptions
from ned.options.preprocess import PreprocessOptions
from ned.options.render import TrainRendererOptions
from renderer.face_blend import blend_into_planes
from renderer.neural import checkpoints
from renderer.neural.actor_network import ActorNetwork, AlignedFaces
from renderer.neural.dataset import Faces
from renderer.rendering import RENDERERS, Renderer, RendererKind, open_renderer, rendered
from renderer.strength import edit_strength

COUNT = 14  # frames
SMALL: dict[str, Any] = {
    **{"size": 64, "width": 4, "judge_width": 4, "gpu_ids": "-1", "precision": "float32"},
    **{"held_out": 0.0, "niter": 1, "perceptual": "structure"},
}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def rig() -> Rig:
    return load_rig()


@pytest.fixture(scope="module")
def actor(portrait: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Actor:
    """The talking portrait, preprocessed."""
    folder = tmp_path_factory.mktemp("actor")
    (folder / "videos").mkdir()
    write_talking_clip(folder / "videos" / "a.mp4", portrait, COUNT / 25, (322, 310))
    preprocess(PreprocessOptions(folder, "test"))
    return Actor(folder)


@pytest.fixture(scope="module")
def performance(actor: Actor) -> Performance:
    """Of the talking portrait, as preprocessing fitted it."""
    return Performance.load(actor.performance_file(actor.videos[0]))


@pytest.fixture(scope="module")
def model(actor: Actor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny renderer of the actor, trained for one epoch."""
    folder = tmp_path_factory.mktemp("model")
    train_renderer(TrainRendererOptions(actor.folder, folder, **SMALL))
    return folder


def smiling(performance: Performance, amount: float = 1.0) -> Performance:
    units = performance.units.copy()
    units[:, performance.unit_names.index("jaw_open")] += amount
    return dataclasses.replace(performance, directed=units)


class Recalling:
    """In place of a network: shows the filmed faces, whatever it is asked for."""

    def __init__(self, pictures: list[NDArray[np.uint8]]) -> None:
        self.pictures = pictures
        self.runs: list[int] = []

    def render(self, shown: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        first = sum(self.runs)
        self.runs.append(0)
        for count, _ in enumerate(shown):
            self.runs[-1] += 1
            yield self.pictures[(first + count) % len(self.pictures)]


def drawn_by(network: object, size: int = 256) -> Renderer:
    begin = ActorNetwork(network, size).begin  # type: ignore[arg-type]
    return Renderer(begin, threads=1, shades=False)


def copied(frame: Frame) -> list[NDArray[Any]]:
    return [np.array(plane) for plane in frame.planes]


def played(
    clip: Clip, performance: Performance, rig: Rig, renderer: Renderer, strength: Any = None
) -> list[tuple[list[NDArray[Any]], list[NDArray[Any]], NDArray[np.uint8]]]:
    """Planes of source and result, and the result's RGB."""
    strength = edit_strength(performance) if strength is None else strength
    pairs = rendered(clip, performance, strength, rig, renderer=renderer)
    return [(copied(source), copied(result), result.rgb()) for source, result in pairs]


def test_what_a_network_is_shown_is_what_it_was_trained_on(
    actor: Actor, performance: Performance, rig: Rig
) -> None:
    faces = Faces.open(actor, size=64)
    for frame, face in enumerate(AlignedFaces(performance, rig, 64).run(0, COUNT)):
        np.testing.assert_array_equal(face.conditioning, faces.conditioning(frame))


def test_the_mask_grows_with_the_face_that_is_wanted(performance: Performance, rig: Rig) -> None:
    faces, opened = AlignedFaces(performance, rig, 256), smiling(performance).directed
    same = next(faces.run(0, 1, performance.units)).mask
    plain, wide = next(faces.run(0, 1)).mask, next(faces.run(0, 1, opened)).mask
    assert 0 <= same.sum() - plain.sum() < 0.02 * plain.sum()
    assert not (plain & ~wide).any() and wide[200:].sum() - same[200:].sum() > 300


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuv420p10le"])
def test_the_filmed_face_drawn_again_is_the_source(
    actor: Actor, performance: Performance, rig: Rig, tmp_path: Path, pixel_format: str
) -> None:
    """Where a face is put is where it was taken from, in its own colours and depth."""
    clip = Clip.open(converted(actor.videos[0], tmp_path / "a.mkv", pixel_format))
    assert clip.pixel_format == pixel_format
    shown = Faces.open(actor)
    network = Recalling([np.moveaxis(shown.face(k), 0, 2) for k in range(COUNT)])
    pairs = played(clip, smiling(performance, 0.01), rig, drawn_by(network))
    assert network.runs == [COUNT] and len(pairs) == COUNT
    depth = 4 if pixel_format.endswith("10le") else 1
    for source, result, _ in pairs:
        apart = [a.astype(float) - b for a, b in zip(source, result, strict=True)]
        assert any(np.any(plane) for plane in apart)
        for plane, limit in zip(apart, (3.0, 1.5, 1.5), strict=True):
            inside = plane[30:-30, 60:-60] if plane.shape[0] > 200 else plane
            assert np.sqrt(np.mean(inside**2)) < limit * depth
        assert not any(np.any(plane[:8]) or np.any(plane[:, :8]) for plane in apart)


def converted(source: Path, path: Path, pixel_format: str) -> Path:
    """The same pictures in another format, without loss."""
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=25)
        clip = Clip.open(source)
        video.width, video.height = clip.size
        video.pix_fmt = pixel_format
        for frame in clip.frames():
            picture = picture_from_planes(frame.planes, clip.pixel_format)
            container.mux(video.encode(picture.reformat(format=pixel_format)))
        container.mux(video.encode())
    return path


def picture(
    shape: tuple[int, int], steps: tuple[int, int], bits: int, value: float | None = None
) -> Frame:
    """One frame of noise, or of one grey, subsampled by (rows, columns)."""
    random = np.random.default_rng(3)
    small = tuple(-(-side // step) for side, step in zip(shape, steps, strict=True))
    top, kind = (255, np.uint8) if bits == 8 else (1023, np.uint16)

    def plane(size: tuple[int, ...]) -> NDArray[Any]:
        if value is not None:
            return np.full(size, value, kind)
        return random.integers(0, top + 1, size).astype(kind)

    clip = SimpleNamespace(matrix="bt709", full_range=False, bit_depth=bits)
    planes = (plane(shape), plane(small), plane(small))
    return Frame(clip, 0, 0, 0.0, None, planes)  # type: ignore[arg-type]


def turned(scale: float, degrees: float, x: float, y: float) -> NDArray[np.float64]:
    """Frame from mask pixels."""
    cosine, sine = scale * np.cos(np.deg2rad(degrees)), scale * np.sin(np.deg2rad(degrees))
    return np.array([[cosine, -sine, x], [sine, cosine, y]])


@pytest.mark.parametrize("steps", [(2, 2), (1, 2), (1, 1)])
@pytest.mark.parametrize("shape", [(161, 203), (160, 200)])
@pytest.mark.parametrize("bits", [8, 10])
def test_planes_of_any_size_change_where_the_face_is(
    shape: tuple[int, int], steps: tuple[int, int], bits: int
) -> None:
    frame = picture(shape, steps, bits)
    mask = np.zeros((64, 64), bool)
    mask[8:56, 12:52] = True
    face = np.full((128, 128, 3), 200, np.uint8)
    twice = np.array([[2, 0, 0.5], [0, 2, 0.5]])
    for place in (turned(0.7, 20, 70, 40), turned(2.5, -10, 100, 90), turned(1, 0, -30, -30)):
        result = blend_into_planes(frame, face, mask, place, twice)
        half = blend_into_planes(frame, face, mask, place, twice, 0.5)
        assert blend_into_planes(frame, face, mask, place, twice, 0.0) is frame
        for old, some, new in zip(frame.planes, half.planes, result.planes, strict=True):
            assert new.dtype == old.dtype and np.any(new != old)
            between = (old.astype(int) + new.astype(int)) / 2
            free = (new > 0) & (new < (1 << bits) - 1)
            assert np.abs(some - between)[free].max() <= 1
    far = blend_into_planes(frame, face, mask, turned(1, 0, 5000, 50), twice)
    assert all(np.array_equal(a, b) for a, b in zip(frame.planes, far.planes, strict=True))


def test_a_face_in_planes_is_the_face_in_colours() -> None:
    """On a flat grey the middle takes the face's colour, exactly, in 10 bits."""
    frame = picture((400, 400), (2, 2), 10, 500)
    mask = np.zeros((64, 64), bool)
    mask[2:62, 2:62] = True
    face = np.zeros((64, 64, 3), np.uint8) + np.array([180, 90, 60], np.uint8)
    result = blend_into_planes(frame, face, mask, turned(3.5, 0, 90, 90), np.eye(2, 3))
    wanted = samples_of_rgb(np.array([180, 90, 60], np.uint8), "bt709", False, 10)
    y, u, v = result.planes
    assert [y[200, 200], u[100, 100], v[100, 100]] == np.rint(wanted).tolist()
    assert y[0, 0] == u[0, 0] == v[0, 0] == 500


@pytest.mark.parametrize("matrix", ["bt709", "bt601", "bt2020"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("depth", [8, 10])
def test_samples_of_colours_are_those_of_the_scaler(matrix: str, full: bool, depth: int) -> None:
    import av

    name = "yuv444p" if depth == 8 else "yuv444p10le"
    colours = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    picture = av.VideoFrame.from_ndarray(colours, "rgb24")
    wanted = np.stack(planes_of(convert(picture, name, matrix, 2, 2 if full else 1)))
    samples = np.moveaxis(samples_of_rgb(colours, matrix, full, depth), -1, 0)
    assert np.abs(samples - wanted).max() <= (1.5 if depth == 8 else 4.5)


def test_faces_fade_in_and_out_and_start_again_after_a_gap(
    actor: Actor, performance: Performance, rig: Rig
) -> None:
    """Unedited frames stay as decoded; a drawn face begins and ends nearly transparent."""
    clip = Clip.open(actor.videos[0])
    strength = np.ones(COUNT, np.float32)
    strength[7] = 0
    network = Recalling([np.full((256, 256, 3), 255, np.uint8)])
    pairs = played(clip, smiling(performance), rig, drawn_by(network), strength)
    assert network.runs == [7, 6]
    apart = [np.abs(b[0].astype(int) - a[0]).sum() for a, b, _ in pairs]
    assert apart[7] == 0
    assert apart[0] > apart[4] > apart[6] > 0 and apart[13] > apart[10] > apart[8] > 0
    assert max(apart[6], apart[8]) < 0.2 * apart[0]


def test_cuts_begin_anew_and_are_not_faded(
    actor: Actor, performance: Performance, rig: Rig
) -> None:
    track = dataclasses.replace(performance.track, shots=np.arange(COUNT, dtype=np.int32) // 5)
    cut = dataclasses.replace(smiling(performance), track=track)
    network = Recalling([np.full((256, 256, 3), 255, np.uint8)])
    pairs = played(Clip.open(actor.videos[0]), cut, rig, drawn_by(network))
    assert network.runs == [5, 5, 4]
    apart = [np.abs(b[0].astype(int) - a[0]).sum() for a, b, _ in pairs]
    assert min(apart) > 0.8 * max(apart)


def test_ned_direct_draws_with_a_trained_network(
    actor: Actor, performance: Performance, model: Path, tmp_path: Path
) -> None:
    performance.save(tmp_path / "talk.safetensors")
    options = DirectOptions(
        clip=actor.videos[0],
        output=tmp_path / "neural.mp4",
        emotion=("happy",),
        renderer="neural",
        actor_model=model,
        performance=tmp_path / "talk.safetensors",
        preset="ultrafast",
        crf=5,
    )
    assert direct(options).summary[0].endswith(f"{COUNT} of {COUNT} frames directed")
    again = dataclasses.replace(options, output=tmp_path / "again.mp4")
    direct(again)
    warped = dataclasses.replace(
        options, output=tmp_path / "warp.mp4", renderer="warp", actor_model=None
    )
    direct(warped)
    source, neural, second, warp = (
        np.stack([frame.rgb() for frame in Clip.open(path).frames()]).astype(int)
        for path in (actor.videos[0], options.output_path, again.output_path, warped.output_path)
    )
    assert neural.shape == source.shape and np.array_equal(neural, second)
    face = np.abs(neural - warp).mean((0, 3))
    assert face[120:200, 120:200].mean() > 4 > 1.5 > face[:, :30].mean()
    assert '"renderer": "neural"' in (tmp_path / "neural.mp4.json").read_text()


@pytest.fixture
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where a clip is tracked although nothing can come of it."""

    def track(*_: object) -> None:
        raise AssertionError("tracking began")

    monkeypatch.setattr(ned.commands.direct, "track_actor", track)


def without_record(folder: Path) -> None:
    (folder / checkpoints.RECORD).unlink()


def of_flame(folder: Path) -> None:
    checkpoints.write_record(folder, {"face_model": "flame"})


def of_another_network(folder: Path) -> None:
    path = folder / "latest_net_G.pth"
    shutil.copy(folder / "latest_net_D.pth", path)


def damaged(folder: Path) -> None:
    (folder / "latest_net_G.pth").write_bytes(b"PK nothing")


def emptied(folder: Path) -> None:
    for path in folder.glob("*.pth"):
        path.unlink()


def removed(folder: Path) -> None:
    shutil.rmtree(folder)


def of_another_size(folder: Path) -> None:
    record = checkpoints.read_record(folder)
    record["settings"]["size"] = "large"
    checkpoints.write_record(folder, record)


@pytest.mark.usefixtures("untracked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (removed, "is not a folder; give that of the actor's trained neural renderer"),
        (emptied, "holds no renderer"),
        (without_record, "does not tell its face; `ned direct` needs one of the rig's"),
        (of_flame, "was trained with the flame face; `ned direct` needs one of the rig's"),
        (of_another_network, "is not a renderer's generator"),
        (damaged, "latest_net_G.pth"),
        (of_another_size, "tells of pictures of size 'large'"),
    ],
)
def test_networks_that_cannot_be_used_are_refused_before_tracking(
    actor: Actor,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[Path], None],
    message: str,
) -> None:
    shutil.copytree(model, tmp_path / "model")
    change(tmp_path / "model")
    before = sorted(tmp_path.rglob("*"))
    words = [actor.videos[0], "--emotion", "happy", "-o", tmp_path / "b.mp4"]
    words += ["--renderer", "neural", "--actor-model", tmp_path / "model"]
    assert main(["direct", *map(str, words)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("ned: error: ") and message in said, said
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("untracked")
def test_each_renderer_asks_for_its_own_kind_of_model(actor: Actor, model: Path) -> None:
    options = DirectOptions(
        clip=actor.videos[0], emotion=("happy",), renderer="hybrid", actor_model=model
    )
    with pytest.raises(InputError, match=r"holds no hybrid\.safetensors; give the folder of `ned"):
        direct(options)


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [
        ("neural", None, "--renderer neural needs the folder of a network"),
        ("hybrid", None, "--renderer hybrid needs the folder of a network"),
        ("warp", Path("x"), "--renderer warp needs no trained network; leave x out"),
        ("oil", None, "--renderer is 'oil', give one of warp, hybrid, neural"),
    ],
)
def test_a_model_is_given_where_one_is_used(name: str, folder: Path | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_renderer(name, folder)


def test_the_warp_needs_no_model() -> None:
    assert open_renderer("warp").shades


def test_performances_without_an_edit_are_not_drawn(
    actor: Actor, performance: Performance, rig: Rig
) -> None:
    clip, same = Clip.open(actor.videos[0]), smiling(performance, 0)
    network = Recalling([np.zeros((256, 256, 3), np.uint8)])
    for source, result, _ in played(clip, same, rig, drawn_by(network)):
        assert all(np.array_equal(a, b) for a, b in zip(source, result, strict=True))
    assert network.runs == []


def test_a_renderer_of_ones_own_is_a_function_and_a_line(
    actor: Actor, performance: Performance, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/extending.md shows it."""

    def blush(folder: Path | None) -> Renderer:
        def begin(clip: Clip, performance: Performance, strength: Any, rig: Rig) -> Any:
            def draw(frame: Frame, edit: object) -> Frame:
                y, u, v = (plane.copy() for plane in frame.planes)
                v[...] = np.clip(v.astype(int) + round(20 * float(strength[frame.index])), 0, 255)
                return frame.with_planes((y, u, v))

            return draw

        return Renderer(begin)

    monkeypatch.setitem(RENDERERS, "blush", RendererKind(blush, trained=False))
    clip, directed = Clip.open(actor.videos[0]), smiling(performance, 1)
    strength = edit_strength(directed)
    pairs = list(rendered(clip, directed, strength, rig, renderer=open_renderer("blush")))
    for source, result in pairs:
        added = round(20 * float(strength[source.index]))
        wanted = np.clip(source.planes[2].astype(int) + added, 0, 255)
        np.testing.assert_array_equal(result.planes[2], wanted)
        np.testing.assert_array_equal(result.planes[0], source.planes[0])
