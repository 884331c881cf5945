"""The main job from end to end, on the talking portrait: video in, directed video out."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import write_talking_clip
from made_up_films import assert_same_film, names, packets, times
from numpy.typing import NDArray

import ned.commands.direct
from deca.fitting import fit
from deca.rig import Rig, load_rig
from manipulator.directing import direct_performance
from manipulator.director import Direction
from ned.commands.direct import DirectResult, direct, track_actor
from ned.core.errors import InputError, OutputError
from ned.core.face import mesh as face
from ned.core.face.performance import Performance
from ned.core.film.clip import Clip, Frame
from ned.core.film.encoder import EncoderSettings
from ned.core.film.turned import turned
from ned.core.film.video import VideoWriter
from ned.core.script.timeline import Timeline
from ned.options import DirectOptions
from renderer.rendering import rendered
from renderer.strength import edit_strength

COUNT = 50  # frames of the talking clip
UPPER, LOWER = list(face.UPPER_INNER_LIP[1:-1]), list(face.LOWER_INNER_LIP[1:-1])


@pytest.fixture(scope="module")
def rig() -> Rig:
    return load_rig()


def perform(path: Path, rig: Rig) -> Performance:
    return fit(track_actor(Clip.open(path), 0), rig)


@pytest.fixture(scope="module")
def tracked(
    talking_clip: Path, rig: Rig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Performance, Path]:
    """The talking clip's performance, and the file in which it is saved."""
    performance = perform(talking_clip, rig)
    path = tmp_path_factory.mktemp("tracked") / "talking.safetensors"
    performance.save(path)
    return performance, path


@pytest.fixture(scope="module")
def happy(talking_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> DirectResult:
    """The talking clip made happy, tracked anew, with everything that goes along."""
    folder = tmp_path_factory.mktemp("happy")
    return direct(
        DirectOptions(
            clip=talking_clip,
            output=folder / "happy.mp4",
            emotion=("happy",),
            preset="ultrafast",
            preview=folder / "preview.mp4",
            contact_sheet=folder / "sheet.png",
        )
    )


def show(clip: Path, folder: Path, performance: Path | None, **wishes: object) -> DirectResult:
    """Direct quickly, without tracking where the performance is known."""
    defaults: dict[str, object] = {
        "output": folder / "result.mp4",
        "performance": performance,
        "preset": "ultrafast",
        "sidecar": False,
    }
    return direct(DirectOptions(clip=clip, **(defaults | wishes)))  # type: ignore[arg-type]


def frames(path: Path) -> list[Frame]:
    return [dataclasses.replace(f, planes=copied(f)) for f in Clip.open(path).frames()]


def copied(frame: Frame) -> tuple[NDArray, NDArray, NDArray]:
    """Planes of one's own; those of a decoded frame may be the decoder's memory."""
    y, u, v = (plane.copy() for plane in frame.planes)
    return y, u, v


def same_pictures(a: Path, b: Path) -> bool:
    """Every decoded sample is equal."""
    return all(
        np.array_equal(p, q)
        for one, other in zip(Clip.open(a).frames(), Clip.open(b).frames(), strict=True)
        for p, q in zip(one.planes, other.planes, strict=True)
    )


def tags(path: Path) -> dict[str, str]:
    with av.open(str(path)) as container:
        return {key.lower(): value for key, value in container.metadata.items()}


def activation(rig: Rig, performance: Performance, unit: str) -> float:
    return float(performance.units[:, list(rig.columns(unit))].mean())


def inner_lip_aperture(performance: Performance) -> NDArray[np.float32]:
    """(T,) mean distance of the inner lips in the picture, in face units."""
    landmarks = performance.track.landmarks()[..., :2]
    distance = np.linalg.norm(landmarks[:, UPPER] - landmarks[:, LOWER], axis=-1)
    return distance.mean(1) / performance.scale


# The result


def test_frames_times_and_sound_are_the_sources(happy: DirectResult, talking_clip: Path) -> None:
    source, result = Clip.open(talking_clip), Clip.open(happy.output)
    assert len(times(result)) == COUNT
    assert times(result) == times(source)
    assert_same_film(source, result)
    assert packets(happy.output, "audio") == packets(talking_clip, "audio")
    for name in ("size", "frame_rate", "pixel_format", "colour", "time_base"):
        assert getattr(result, name) == getattr(source, name), name


def test_what_is_written_and_said(happy: DirectResult) -> None:
    folder = happy.output.parent
    assert names(folder) == [
        "happy.mp4",
        "happy.mp4.json",
        "happy.mp4.safetensors",
        "preview.mp4",
        "sheet.png",
    ]
    assert happy.summary[0] == f"{happy.output}: 50 of 50 frames directed"
    said = "\n".join(happy.summary)
    assert all(str(folder / name) in said for name in names(folder))
    assert (happy.strength == 1).all()
    record = json.loads((folder / "happy.mp4.json").read_text("utf-8"))
    assert record["frames"]["directed"] == record["frames"]["total"] == COUNT
    assert record["untouched"] == []
    assert record["parameters"] == "happy.mp4.safetensors"
    saved = Performance.load(folder / "happy.mp4.safetensors")
    assert saved.directed is not None
    assert happy.performance.directed is not None
    assert np.array_equal(saved.directed, happy.performance.directed)
    preview = Clip.open(folder / "preview.mp4")
    assert preview.size == (960, 480 + 96)
    assert times(preview) == times(Clip.open(happy.output))


def test_provenance_can_be_left_out(
    happy: DirectResult, talking_clip: Path, tracked: tuple[Performance, Path], tmp_path: Path
) -> None:
    marked = tags(happy.output)
    assert marked["ned_edit"] == "happy"
    assert "edited" in marked["comment"]
    assert tags(happy.output.parent / "preview.mp4")["ned_edit"] == "happy"
    show(talking_clip, tmp_path, tracked[1], emotion=("happy",), provenance=False)
    plain = tags(tmp_path / "result.mp4")
    assert not {"ned_edit", "ned_version", "comment"} & set(plain)
    assert names(tmp_path) == ["result.mp4"]


def test_saved_tracking_gives_the_same_pictures(
    happy: DirectResult, talking_clip: Path, tracked: tuple[Performance, Path], tmp_path: Path
) -> None:
    again = show(talking_clip, tmp_path, tracked[1], emotion=("happy",))
    assert same_pictures(again.output, happy.output)
    assert again.performance.directed is not None
    assert happy.performance.directed is not None
    np.testing.assert_array_equal(again.performance.directed, happy.performance.directed)
    # a file that has been directed before is as good as a fresh one
    used = happy.output.with_name("happy.mp4.safetensors")
    twice = show(talking_clip, tmp_path, used, emotion=("happy",))
    assert same_pictures(twice.output, happy.output)


@pytest.mark.parametrize("emotion", ["happy", "sad", "surprised"])
def test_only_the_face_differs_before_encoding(
    emotion: str, talking_clip: Path, tracked: tuple[Performance, Path], rig: Rig
) -> None:
    performance, clip = tracked[0], Clip.open(talking_clip)
    direction = Direction(Timeline.constant({emotion: 1.0}))
    change = direct_performance(performance, direction, rig).change
    directed = dataclasses.replace(performance, directed=performance.units + change)
    boxes = performance.track.boxes
    seen = 0
    for source, result in rendered(clip, directed, edit_strength(directed), rig):
        if source.index % 7:
            continue
        seen += 1
        x0, y0, x1, y1 = boxes[source.index]
        wide, high = 0.25 * (x1 - x0), 0.25 * (y1 - y0)
        for k, (before, after) in enumerate(zip(source.planes, result.planes, strict=True)):
            step = 1 if k == 0 else 2
            box = np.array([x0 - wide, y0 - high, x1 + wide, y1 + high]) / step
            left, top, right, bottom = np.rint(box).astype(int)
            outside = np.ones(before.shape, bool)
            outside[max(0, top) : bottom, max(0, left) : right] = False
            assert outside.sum() > 2000
            assert np.array_equal(before[outside], after[outside])
            assert (before != after).mean() > 0.02
        assert (result.index, result.pts) == (source.index, source.pts)
    assert seen == 8


def test_frames_without_strength_come_back_as_decoded(
    talking_clip: Path, tracked: tuple[Performance, Path], rig: Rig
) -> None:
    performance, clip = tracked[0], Clip.open(talking_clip)
    change = direct_performance(performance, Direction(Timeline.constant({"sad": 1})), rig).change
    directed = dataclasses.replace(performance, directed=performance.units + change)
    strength = np.where(np.arange(COUNT) < 25, 1, 0).astype(np.float32)
    for source, result in rendered(clip, directed, strength, rig):
        assert (result is source) == (source.index >= 25)


# What is asked for


@pytest.mark.parametrize(
    "wishes",
    [
        {"emotion": ("happy",), "intensity": 0.0},
        {"emotion": ("happy:0",)},
        {"emotion": ("source",)},
        {"timeline": "0:source"},
    ],
    ids=str,
)
def test_nothing_asked_nothing_changed(
    wishes: dict[str, object],
    talking_clip: Path,
    tracked: tuple[Performance, Path],
    tmp_path: Path,
) -> None:
    result = show(talking_clip, tmp_path, tracked[1], **wishes)
    assert same_pictures(talking_clip, result.output)
    assert packets(result.output, "video") == packets(talking_clip, "video")
    assert packets(result.output, "audio") == packets(talking_clip, "audio")
    assert "nothing to change" in result.summary[0]
    assert result.output.read_bytes() == talking_clip.read_bytes()


def test_nothing_changed_though_a_preview_is_wanted(
    talking_clip: Path, tracked: tuple[Performance, Path], tmp_path: Path
) -> None:
    more = {"preview": tmp_path / "preview.mp4", "contact_sheet": tmp_path / "sheet.jpg"}
    show(talking_clip, tmp_path, tracked[1], emotion=("sad",), intensity=0.0, **more)
    assert same_pictures(talking_clip, tmp_path / "result.mp4")
    assert names(tmp_path) == ["preview.mp4", "result.mp4", "sheet.jpg"]


def test_the_mouth_stays_as_decoded_where_only_brows_may_change(
    talking_clip: Path, tracked: tuple[Performance, Path], rig: Rig
) -> None:
    performance, clip = tracked[0], Clip.open(talking_clip)
    direction = Direction(Timeline.constant({"sad": 1}), regions=("brows",))
    change = direct_performance(performance, direction, rig).change
    directed = dataclasses.replace(performance, directed=performance.units + change)
    source, result = next(rendered(clip, directed, edit_strength(directed), rig))
    landmarks = performance.track.landmarks(0, 1)[0, :, :2]
    below = slice(int(landmarks[4, 1]), int(landmarks[152, 1]))  # from the nose to the chin
    assert np.array_equal(source.planes[0][below], result.planes[0][below])
    assert not np.array_equal(source.planes[0], result.planes[0])


def test_a_timeline_starts_when_it_says(
    talking_clip: Path, tracked: tuple[Performance, Path], rig: Rig
) -> None:
    performance, clip = tracked[0], Clip.open(talking_clip)
    timeline = Timeline.parse("1:angry", ("angry",))
    change = direct_performance(performance, Direction(timeline), rig).change
    directed = dataclasses.replace(performance, directed=performance.units + change)
    for source, result in rendered(clip, directed, edit_strength(directed), rig):
        if source.time <= 1:
            assert result is source
        elif source.time > 1.2:
            assert result is not source


def test_a_timeline_from_a_file_and_several_emotions(
    talking_clip: Path, tracked: tuple[Performance, Path], tmp_path: Path
) -> None:
    take = tmp_path / "take.yaml"
    take.write_text("ease: 0.4\nkeys:\n- {at: 0, emotion: sad}\n- {at: 1.0, emotion: angry}\n")
    by_file = show(talking_clip, tmp_path, tracked[1], timeline=str(take))
    inline = tmp_path / "inline"
    inline.mkdir()
    by_words = show(talking_clip, inline, tracked[1], timeline="ease=0.4 0:sad 1:angry")
    assert same_pictures(by_file.output, by_words.output)
    split = tmp_path / "split"
    split.mkdir()
    shared = show(talking_clip, split, tracked[1], emotion=("sad", "happy:0.5+angry:0.5"))
    assert tags(shared.output)["ned_edit"] == "sad happy:0.5+angry:0.5"
    assert shared.performance.directed is not None
    change = shared.performance.directed - shared.performance.units
    first, second = change[:24].mean(0), change[40:].mean(0)
    assert np.abs(first - second).max() > 0.3


def test_the_seed_decides_the_take(
    talking_clip: Path, tracked: tuple[Performance, Path], tmp_path: Path
) -> None:
    takes = []
    for seed in (3, 3, 4):
        result = show(talking_clip, tmp_path, tracked[1], emotion=("angry",), seed=seed)
        takes.append([frame.planes[0] for frame in frames(result.output)])
    assert all(np.array_equal(a, b) for a, b in zip(takes[0], takes[1], strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(takes[0], takes[2], strict=True))


def test_a_reference_is_followed(
    talking_clip: Path,
    tracked: tuple[Performance, Path],
    still_image: Path,
    rig: Rig,
    tmp_path: Path,
) -> None:
    """The portrait smiles; a sad take of it in the portrait's own style smiles again."""
    sad = show(talking_clip, tmp_path, tracked[1], emotion=("sad",), output=tmp_path / "sad.mp4")
    performance = tmp_path / "sad.safetensors"
    before = perform(sad.output, rig)
    before.save(performance)
    for reference in (talking_clip, still_image):
        result = show(sad.output, tmp_path, performance, reference=reference)
        assert result.performance.directed is not None
        directed = dataclasses.replace(result.performance, units=result.performance.directed)
        smile = activation(rig, directed, "corner_pull")
        assert smile > activation(rig, before, "corner_pull") + 0.3
        assert tags(result.output)["ned_edit"] == f"in the style of {reference.name}"


def test_two_takes_of_one_clip_can_be_told_apart(
    happy: DirectResult,
    talking_clip: Path,
    tracked: tuple[Performance, Path],
    rig: Rig,
    tmp_path: Path,
) -> None:
    """Tracked again, the happy take smiles more and the sad take less; made happy, it recovers."""
    sad = show(talking_clip, tmp_path, tracked[1], emotion=("sad",), output=tmp_path / "sad.mp4")
    merry, gloomy = perform(happy.output, rig), perform(sad.output, rig)
    assert activation(rig, merry, "corner_pull") > activation(rig, gloomy, "corner_pull") + 0.5
    assert activation(rig, gloomy, "corner_depress") > activation(rig, merry, "corner_depress")
    recovered = show(sad.output, tmp_path, None, emotion=("happy",))
    smile = activation(rig, perform(recovered.output, rig), "corner_pull")
    assert smile > activation(rig, gloomy, "corner_pull") + 0.4


@pytest.mark.parametrize("emotion", ["happy", "sad", "angry", "surprised"])
def test_lips_still_say_the_words(
    emotion: str, talking_clip: Path, tracked: tuple[Performance, Path], rig: Rig, tmp_path: Path
) -> None:
    """The inner-lip aperture, tracked again in the result, follows the source's."""
    result = show(talking_clip, tmp_path, tracked[1], emotion=(emotion,))
    after = perform(result.output, rig)
    source, again = inner_lip_aperture(tracked[0]), inner_lip_aperture(after)
    assert np.ptp(source) > 0.05
    assert np.corrcoef(source, again)[0, 1] > 0.95
    # and the head moves as it did, in pixels
    drift = after.translation - tracked[0].translation
    assert np.abs(drift - np.median(drift, axis=0)).max() < 2


# What comes in


def test_a_picture_becomes_a_clip(still_image: Path, tmp_path: Path) -> None:
    result = show(still_image, tmp_path, None, emotion=("surprised",), duration=0.48)
    clip = Clip.open(result.output)
    assert (clip.size, clip.frame_count, clip.frame_rate) == ((512, 512), 12, 25)
    pictures = frames(result.output)
    source = next(Clip.open(still_image, duration=1).frames()).rgb()
    moved = np.abs(pictures[0].rgb().astype(int) - source).mean(2)
    assert moved.max() > 60
    assert moved[:20].mean() < 3
    assert result.strength.min() == 1
    slow = show(still_image, tmp_path, None, emotion=("sad",), duration=0.25, frame_rate="23.976")
    assert Clip.open(slow.output).frame_rate == Fraction(24000, 1001)
    assert len(frames(slow.output)) == 6


def test_a_picture_and_nothing_to_change(still_image: Path, tmp_path: Path) -> None:
    show(still_image, tmp_path, None, emotion=("sad",), intensity=0.0, duration=0.2, crf=0)
    source = next(Clip.open(still_image, duration=1).frames())
    for frame in frames(tmp_path / "result.mp4"):
        assert np.abs(frame.planes[0].astype(int) - source.planes[0]).max() <= 3


@pytest.mark.parametrize(("pixel_format", "suffix"), [("yuv420p10le", ".mkv"), ("yuv444p", ".mp4")])
def test_other_pixel_formats(
    pixel_format: str, suffix: str, portrait: NDArray[np.uint8], tmp_path: Path
) -> None:
    plain = tmp_path / "plain.mp4"
    write_talking_clip(plain, portrait, 0.24)
    source = tmp_path / f"deep{suffix}"
    recode(plain, source, pixel_format)
    result = show(source, tmp_path, None, emotion=("sad",), output=tmp_path / f"result{suffix}")
    clip = Clip.open(result.output)
    assert clip.pixel_format == pixel_format
    assert len(frames(result.output)) == 6
    if pixel_format.endswith("10le"):
        luma = frames(result.output)[0].planes[0]
        assert luma.dtype == np.uint16
        assert luma.max() <= 1023
        assert len(np.unique(luma % 4)) == 4  # ten bits all the way


def recode(source: Path, target: Path, pixel_format: str) -> None:
    """Write a clip's pictures in another pixel format."""
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "8"})
        clip = Clip.open(source)
        stream.width, stream.height = clip.size
        stream.pix_fmt = pixel_format
        for frame in clip.frames():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.rgb(), "rgb24")))
        container.mux(stream.encode(None))


def test_a_clip_of_one_frame(portrait: NDArray[np.uint8], tmp_path: Path) -> None:
    write_talking_clip(tmp_path / "one.mp4", portrait, 0.04)
    result = show(tmp_path / "one.mp4", tmp_path, None, emotion=("happy",))
    assert len(frames(result.output)) == 1
    assert result.summary[0].endswith("1 of 1 frames directed")


def test_frames_without_a_face_pass_through(
    talking_clip: Path, tracked: tuple[Performance, Path], rig: Rig, tmp_path: Path
) -> None:
    performance = dataclasses.replace(tracked[0])
    track = dataclasses.replace(performance.track, confidence=tracked[0].track.confidence.copy())
    track.confidence[:10] = 0
    performance = dataclasses.replace(performance, track=track)
    performance.save(tmp_path / "holes.safetensors")
    holes = tmp_path / "holes.safetensors"
    result = show(talking_clip, tmp_path, holes, emotion=("sad",), sidecar=True)
    assert "frames 0-9 untouched: no face" in "\n".join(result.summary)
    record = json.loads((tmp_path / "result.mp4.json").read_text("utf-8"))
    assert record["untouched"][0]["first"] == 0
    assert record["untouched"][0]["last"] == 9
    assert not result.strength[:10].any()
    assert result.performance.directed is not None
    assert np.array_equal(result.performance.directed[:10], performance.units[:10])


# What does not fit


def test_tracking_of_another_clip_is_refused(
    talking_clip: Path,
    tracked: tuple[Performance, Path],
    portrait: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    write_talking_clip(tmp_path / "short.mp4", portrait, 0.2)
    with pytest.raises(InputError, match="has 5 frames, its performance 50"):
        show(tmp_path / "short.mp4", tmp_path, tracked[1], emotion=("sad",))
    write_talking_clip(tmp_path / "small.mp4", portrait, 0.2, (320, 320))
    with pytest.raises(InputError, match="belongs to a 480x480 clip"):
        show(tmp_path / "small.mp4", tmp_path, tracked[1], emotion=("sad",))
    other = dataclasses.replace(tracked[0], unit_names=("a",) * len(tracked[0].unit_names))
    other.save(tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="another rig"):
        show(talking_clip, tmp_path, tmp_path / "other.safetensors", emotion=("sad",))
    assert names(tmp_path) == ["other.safetensors", "short.mp4", "small.mp4"]


@pytest.mark.parametrize(
    "wish",
    [
        {"contact_sheet": "sheet.gif"},
        {"contact_sheet": "none/sheet.png"},
        {"preview": "preview.xyz"},
        {"save_performance": "none/a.safetensors"},
    ],
    ids=str,
)
def test_a_result_that_cannot_be_written_is_refused_before_any_work(
    wish: dict[str, str], talking_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the clip is being tracked already")

    monkeypatch.setattr(ned.commands.direct, "track_actor", fail)
    paths = {name: tmp_path / value for name, value in wish.items()}
    with pytest.raises(OutputError):
        show(talking_clip, tmp_path, None, emotion=("sad",), **paths)
    assert names(tmp_path) == []


def test_a_missing_reference_is_refused_before_any_work(
    talking_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the clip is being tracked already")

    monkeypatch.setattr(ned.commands.direct, "track_actor", fail)
    with pytest.raises(InputError, match=r"none\.mp4"):
        show(talking_clip, tmp_path, None, reference=tmp_path / "none.mp4")


# Real footage


def test_real_clip(shared_clips: Path, rig: Rig, tmp_path: Path) -> None:
    """The smallest real clip, made happy: sound, times and lips are kept, the smile rises."""
    footage = sorted(shared_clips.glob("*.mp4"), key=lambda path: path.stat().st_size)
    if not footage:
        pytest.skip(f"no .mp4 in {shared_clips}")
    source = tmp_path / "source.mp4"
    shutil.copyfile(footage[0], source)
    result = show(source, tmp_path, None, emotion=("happy",))
    assert_same_film(Clip.open(source), Clip.open(result.output))
    after = perform(result.output, rig)
    seen = result.strength > 0.99
    assert seen.any()
    lips = inner_lip_aperture(result.performance)[seen], inner_lip_aperture(after)[seen]
    assert np.corrcoef(*lips)[0, 1] > 0.9


def test_a_film_on_its_side_comes_out_upright(talking_clip: Path, tmp_path: Path) -> None:
    lying = tmp_path / "lying.mp4"
    clip = turned(Clip.open(talking_clip), 270)
    with VideoWriter(lying, clip, EncoderSettings(crf=10)) as writer:
        for frame in itertools.islice(clip.frames(), 12):
            writer.write(frame)
    options = DirectOptions(
        clip=lying, output=tmp_path / "o.mp4", emotion=("happy",), rotate=90, sidecar=False
    )
    direct(options)
    result = next(Clip.open(tmp_path / "o.mp4").frames()).rgb().astype(float)
    upright = next(Clip.open(talking_clip).frames()).rgb().astype(float)
    assert np.abs(result - upright).mean() < 8 < np.abs(result - np.rot90(upright)).mean()
    still = DirectOptions(
        clip=lying, output=tmp_path / "s.mp4", emotion=("happy",), intensity=0, rotate=90
    )
    assert "turned as it was" in direct(still).summary[0]
    same = next(Clip.open(tmp_path / "s.mp4").frames()).rgb().astype(float)
    assert np.abs(same - upright).mean() < 4


def test_a_new_folder_is_made_for_the_result(talking_clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "takes"
    options = DirectOptions(talking_clip, output=folder, emotion=("happy",), intensity=0)
    assert direct(options).output == folder / "talking_happy.mp4"
    assert (folder / "talking_happy.mp4").is_file()
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OutputError):
        direct(DirectOptions(talking_clip, output=tmp_path / "file", emotion=("happy",)))
    assert (tmp_path / "file").read_bytes() == b"x"


def test_own_emotions_are_shown(
    tracked: tuple[Performance, Path], talking_clip: Path, rig: Rig, tmp_path: Path
) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text(
        "emotions: {half_smile: {variants: [{name: a, units: {dimple_left: 0.9}}]}}",
        encoding="utf-8",
    )
    options = DirectOptions(
        talking_clip,
        tmp_path,
        ("half_smile:0.8",),
        emotions=own,
        performance=tracked[1],
        preset="ultrafast",
    )
    result = direct(options)
    assert result.output.name == f"{talking_clip.stem}_half_smile{talking_clip.suffix}"
    performance = result.performance
    assert performance.directed is not None
    change = (performance.directed - performance.units).mean(0)
    sides = [rig.index[f"dimple_{side}"] for side in ("left", "right")]
    assert change[sides[0]] > change[sides[1]] + 0.1
    with pytest.raises(InputError, match="unknown emotion 'half_smile'"):
        direct(dataclasses.replace(options, emotions=None))
    with pytest.raises(InputError, match="--emotions and --director learned given"):
        dataclasses.replace(options, director="learned")
