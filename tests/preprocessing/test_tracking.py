"""Tracking: synthetic clips of a pasted portrait, then real ones where there are any."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from places import CLIPS, ROOT
from skimage.data import astronaut

from ned.core.errors import NoFaceError, OutputError
from ned.core.face.track import Track, encode_landmarks
from preprocessing.actor_sheet import draw_actor_sheet
from preprocessing.ahead import ahead
from preprocessing.face_detector import FaceDetector, overlap, tiles
from preprocessing.face_mesh import FaceMesh
from preprocessing.identity import Identity, unlikeness
from preprocessing.occlusion import PATCH_SIDE
from preprocessing.persons import Tracklet, people
from preprocessing.shots import distance, frames_with_shots, sign
from preprocessing.track import TrackingOptions, track_faces
from preprocessing.window import Window, crop

Image = NDArray[np.uint8]
PORTRAIT: Image = astronaut()[0:240, 110:350]
FACE_PER_PORTRAIT = 110 / 240  # height of the mesh on it, measured
SIZE = (640, 360)


@dataclass
class Still:
    """A frame that was computed."""

    image: Image
    time: float

    def rgb(self) -> Image:
        return self.image


@dataclass
class ActorVideo:
    """A clip whose frames are computed on the way; counts how many were asked for."""

    draw: Callable[[int], Image]
    frame_count: int
    size: tuple[int, int] = SIZE
    rate: float = 25.0
    asked: int = 0

    def frames(self) -> Iterator[Still]:
        for index in range(self.frame_count):
            self.asked += 1
            yield Still(self.draw(index), index / self.rate)


def scenery(seed: int = 1, size: tuple[int, int] = SIZE) -> Image:
    """Soft coloured blobs without any face."""
    noise = np.random.default_rng(seed).integers(0, 255, (8, 12, 3)).astype(np.uint8)
    return cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC) // 2 + 40  # type: ignore


def paste(
    image: Image,
    centre: tuple[float, float],
    height: float,
    angle: float = 0.0,
    mirrored: bool = False,
    warmth: float = 1.0,
) -> Image:
    """The portrait, `height` pixels high and turned by `angle` degrees, set into an image."""
    portrait = PORTRAIT[:, ::-1] if mirrored else PORTRAIT
    if warmth != 1.0:
        gains = np.array([warmth, 1.0, 1 / warmth])
        portrait = np.clip(portrait * gains, 0, 255).astype(np.uint8)
    scale = height / portrait.shape[0]
    if scale < 0.7:
        portrait = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)  # type: ignore
        scale = 1.0
    side = portrait.shape[0]
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), angle, scale)
    matrix[:, 2] += np.array(centre) - side / 2
    size = image.shape[1::-1]
    face = cv2.warpAffine(portrait, matrix, size)
    mask = cv2.warpAffine(np.full((side, side), 255, np.uint8), matrix, size) > 250
    result = image.copy()
    result[mask] = face[mask]
    return result


def centres(track: Track) -> NDArray[np.float32]:
    """(T, 2) centres of a track's boxes."""
    return (track.boxes[:, :2] + track.boxes[:, 2:]) / 2


def runs(track: Track) -> list[tuple[int, int]]:
    """First and last frames of the stretches in which a track has a face."""
    frames = np.flatnonzero(track.present)
    parts = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    return [(int(part[0]), int(part[-1])) for part in parts]


# Geometry and storage


def test_landmarks_survive_storage_within_a_twentieth_of_a_pixel() -> None:
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (478, 3)).astype(np.float32) * 800
    points[:, :2] += 900
    track = Track.empty(3, (1920, 1080))
    track.set_landmarks(1, points)
    track.confidence[1] = 1
    assert np.abs(track.landmarks(1, 2)[0] - points).max() < 0.05
    assert np.isnan(track.landmarks()[[0, 2]]).all()
    box, codes = encode_landmarks(points)
    np.testing.assert_array_equal(box, track.boxes[1])
    np.testing.assert_array_equal(codes, track.codes[1])
    np.testing.assert_allclose(box[:2], points[:468, :2].min(0))


def test_crop_samples_where_the_map_says() -> None:
    y, x = np.mgrid[0:300, 0:400] + 0.5
    image = np.stack([x / 2, y / 2, 0 * x], -1).astype(np.float32)
    window = Window((190.0, 140.0), 120.0, 0.3)
    (cut,) = crop(np.rint(image).astype(np.uint8), [window], 60)
    v, u = (np.mgrid[0:60, 0:60] + 0.5) / 60
    matrix = window.image_from_crop()
    expected = np.stack([u, v, np.ones_like(u)], -1) @ matrix.T / 2
    assert np.abs(cut[..., :2] - expected).max() < 1.5
    assert abs(float((cut[..., :2] - expected).mean())) < 0.1
    centre = matrix @ (0.5, 0.5, 1)
    np.testing.assert_allclose(centre, window.centre)


def test_window_around_points_is_level_with_the_eyes() -> None:
    points = np.zeros((478, 3), np.float32)
    points[:468] = np.random.default_rng(0).uniform(0, 100, (468, 3))
    points[33, :2], points[263, :2] = (20, 20), (60, 60)
    assert Window.around(points).angle == pytest.approx(np.pi / 4)


@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (512, 512), (3840, 2160), (8, 8)])
def test_tiles_cover_the_image_and_the_smallest_face(size: tuple[int, int]) -> None:
    levels = tiles(size, 60)
    for level in levels:
        seen = np.zeros((size[1], size[0]), bool)
        for tile in level:
            top, left = max(0, tile.top), max(0, tile.left)
            seen[top : tile.top + tile.side, left : tile.left + tile.side] = True
        assert seen.all()
    assert levels[-1][0].side <= max(60 * 192 / 20, max(size) if len(levels) == 1 else 0) + 1
    assert sum(len(level) for level in levels) < 150


def test_overlap_is_one_for_nested_boxes() -> None:
    assert overlap((0, 0, 10, 10), (2, 2, 4, 4)) == 1
    assert overlap((0, 0, 10, 10), (10, 0, 20, 10)) == 0


# Shots


def shot_starts(images: list[Image]) -> list[int]:
    seen = [
        shot_frame.shot
        for shot_frame in frames_with_shots(Still(image, i / 25) for i, image in enumerate(images))
    ]
    assert len(seen) == len(images)
    return [int(frame) + 1 for frame in np.flatnonzero(np.diff(seen))]


def test_cut_is_found_between_sceneries() -> None:
    one, other = scenery(1), scenery(2)
    assert shot_starts([one] * 10 + [other] * 10 + [one] * 5) == [10, 20]


def test_neither_flash_nor_fast_pan_nor_light_nor_passer_by_is_a_cut() -> None:
    wide = scenery(3, (2600, 360))
    pan = [np.ascontiguousarray(wide[:, 60 * i : 60 * i + 640]) for i in range(30)]
    assert shot_starts(pan) == []
    images = [scenery(1)] * 30
    for frame in (5, 15, 16):
        images[frame] = np.full_like(images[0], 250)
    for frame in range(20, 30):
        images[frame] = np.clip(images[frame].astype(int) * 7 // 5, 0, 255).astype(np.uint8)
    images[25] = images[25].copy()
    images[25][100:300, 200:400] = (10, 200, 30)
    assert shot_starts(images) == []


def test_black_to_picture_is_a_cut_and_black_to_black_is_not() -> None:
    black = np.zeros_like(scenery())
    assert shot_starts([black] * 5 + [scenery()] * 5) == [5]
    assert distance(sign(black), sign(black)) == 0


# Networks


def test_mesh_ignores_what_came_before_and_moves_with_the_window() -> None:
    image = paste(scenery(), (300, 180), 240)
    with FaceMesh() as mesh, FaceDetector() as detector:
        (found,) = detector.search(image, tiles(SIZE, 60)[0])
        window = found.window()
        (points, presence), *_ = mesh.landmarks(image, [window])
        assert presence > 0.9
        empty, nothing = mesh.landmarks(scenery(), [window])[0]
        assert nothing < 0.5 and empty.shape == (478, 3)
        again, _ = mesh.landmarks(image, [window])[0]
        np.testing.assert_array_equal(points, again)
        shifted = np.roll(image, (10, 20), (0, 1))
        x, y = window.centre
        moved, _ = mesh.landmarks(shifted, [Window((x + 20, y + 10), window.side, window.angle)])[0]
        assert np.abs(moved - points - (20, 10, 0)).max() < 1.0
        assert points[1, 2] < points[234, 2]  # the nose is nearer than the temple


# One face


@pytest.fixture(scope="module")
def walk() -> tuple[ActorVideo, Track]:
    """A face that moves, grows and nods; hidden in frames 20-25 and 40-64."""

    def draw(index: int) -> Image:
        image = paste(
            scenery(), (200 + 2 * index, 180), 200 + index, 8 * np.sin(index / 6), warmth=1.0
        )
        if 20 <= index < 26 or 40 <= index < 65:
            x = 200 + 2 * index
            image[60:300, x - 90 : x + 90] = (90, 100, 80)
        return image

    reel = ActorVideo(draw, 80)
    tracks = track_faces(reel)
    assert len(tracks) == 1
    return reel, tracks[0]


def test_clip_is_read_once(walk: tuple[ActorVideo, Track]) -> None:
    assert walk[0].asked == walk[0].frame_count


def test_face_is_followed(walk: tuple[ActorVideo, Track]) -> None:
    _, track = walk
    assert len(track) == 80 and track.size == SIZE and track.shots.max() == 0
    np.testing.assert_allclose(track.times, np.arange(80) / 25)
    seen = track.present & ~track.interpolated
    path = centres(track)[seen]
    index = np.flatnonzero(seen)
    assert np.abs(np.polyfit(index, path[:, 0], 1)[0] - 2) < 0.3
    assert np.ptp(path[:, 0] - 2 * index) < 20
    heights = (track.boxes[:, 3] - track.boxes[:, 1])[seen]
    assert np.abs(heights / ((200 + index) * FACE_PER_PORTRAIT) - 1).max() < 0.2
    assert (track.confidence[seen] > 0.6).all() and track.confidence.max() <= 1


def test_short_gap_is_filled_and_long_one_left(walk: tuple[ActorVideo, Track]) -> None:
    _, track = walk
    assert runs(track) == [(0, 39), (65, 79)]
    assert list(np.flatnonzero(track.interpolated)) == [20, 21, 22, 23, 24, 25]
    assert (track.confidence[20:26] < track.confidence[[19, 26]].min()).all()
    ends = track.landmarks(19, 20)[0], track.landmarks(26, 27)[0]
    middle = track.landmarks(23, 24)[0]
    assert np.abs(middle - (3 * ends[0] + 4 * ends[1]) / 7).max() < 0.1


def test_face_that_leaves_the_image_loses_confidence() -> None:
    reel = ActorVideo(lambda i: paste(scenery(), (500 + 5 * i, 180), 240), 45)
    (track,) = track_faces(reel)
    first, last = runs(track)[0]
    assert first == 0 and 20 < last < 44
    assert track.confidence[last] < 0.8 < track.confidence[:10].min()


def test_face_that_enters_is_found_within_a_few_frames() -> None:
    reel = ActorVideo(lambda i: paste(scenery(), (180 if i >= 11 else -300, 180), 240), 30)
    (track,) = track_faces(reel)
    assert runs(track) == [(11, 29)]  # found late, followed back


def test_fast_and_rolling_face() -> None:
    def draw(i: int) -> Image:
        place = (320 + 200 * np.sin(i / 5), 180 + 30 * np.cos(i / 3))
        return paste(scenery(), place, 200, 40 * np.sin(i / 6))

    (track,) = track_faces(ActorVideo(draw, 40))
    assert track.present.all() and np.median(track.confidence) > 0.7
    expected = 320 + 200 * np.sin(np.arange(40) / 5)
    assert np.corrcoef(centres(track)[:, 0], expected)[0, 1] > 0.98


def test_still_face_hardly_trembles() -> None:
    noise = np.random.default_rng(0)

    def draw(i: int) -> Image:
        image = paste(scenery(), (320, 180), 300) + noise.normal(0, 4, (360, 640, 3))
        return np.clip(image, 0, 255).astype(np.uint8)

    (track,) = track_faces(ActorVideo(draw, 30))
    points = track.landmarks(5)[:, :468, :2]
    jitter = np.diff(points, 2, axis=0).std() / np.sqrt(6) / track.mean_height
    assert jitter < 2e-3


@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920)])
def test_face_of_sixty_pixels(size: tuple[int, int]) -> None:
    height = 60 / FACE_PER_PORTRAIT
    place = (size[0] * 0.8, size[1] * 0.3)
    reel = ActorVideo(lambda i: paste(scenery(1, size), (place[0] - i, place[1]), height), 4, size)
    (track,) = track_faces(reel)
    assert track.present.all()
    assert 50 < track.mean_height < 72
    assert np.abs(centres(track)[0] - place).max() < 40


def test_rotated_stills() -> None:
    for angle in (-60, 60):
        reel = ActorVideo(lambda i, angle=angle: paste(scenery(), (320, 180), 260, angle), 2)
        (track,) = track_faces(reel)
        eyes = track.landmarks(0, 1)[0, 263] - track.landmarks(0, 1)[0, 33]
        assert np.degrees(np.arctan2(eyes[1], eyes[0])) == pytest.approx(-angle, abs=15)


# Several faces


def test_three_faces_in_order_of_importance() -> None:
    def draw(i: int) -> Image:
        image = paste(scenery(), (110, 150), 150)
        image = paste(image, (310, 200 + i), 260, mirrored=True)
        return paste(image, (540, 200), 190)

    tracks = track_faces(ActorVideo(draw, 12))
    assert [round(float(centres(track)[0, 0]) / 640, 1) for track in tracks] == [0.5, 0.8, 0.2]
    assert all(track.present.all() for track in tracks)
    assert len(track_faces(ActorVideo(draw, 3), max_faces=2)) == 2


def test_equal_faces_are_numbered_from_left_to_right() -> None:
    def draw(i: int) -> Image:
        image = paste(scenery(), (520, 180), 200)
        return paste(paste(image, (320, 180), 203, mirrored=True), (120, 180), 197)

    tracks = track_faces(ActorVideo(draw, 4))
    places = [float(centres(track)[0, 0]) for track in tracks]
    assert len(places) == 3 and places == sorted(places)


def test_crossing_faces_keep_their_identities() -> None:
    def draw(i: int) -> Image:
        image = paste(scenery(), (80 + 9 * i, 190), 170, mirrored=True, warmth=1.3)
        return paste(image, (560 - 9 * i, 180), 220)

    tracks = track_faces(ActorVideo(draw, 54))
    assert len(tracks) == 2
    front, back = (centres(track)[:, 0] for track in tracks)
    assert tracks[0].present.all() and not tracks[1].present.all()
    assert front[0] > 480 and front[-1] < 160
    assert back[0] < 160 and back[-1] > 480
    both = tracks[0].present & tracks[1].present
    assert (np.abs(front - back)[both] > 30).all()
    assert not tracks[1].present[26:29].any()  # hidden, not imagined on the other's face


def test_actor_is_known_again_after_cuts() -> None:
    def draw(i: int) -> Image:
        if i < 12 or i >= 24:
            return paste(scenery(5 if i < 12 else 6), (200 + i, 180), 240)
        return paste(scenery(7), (420, 170), 200, mirrored=True, warmth=1.5)

    tracks = track_faces(ActorVideo(draw, 36))
    assert list(np.flatnonzero(np.diff(tracks[0].shots))) == [11, 23]
    assert runs(tracks[0])[0][0] == 0 and runs(tracks[0])[-1][1] == 35
    assert not any(track.interpolated.any() for track in tracks)


def test_a_tracklet_keeps_every_frame_in_few_pieces_of_memory() -> None:
    generator = np.random.default_rng(0)
    one, boxes = Tracklet(0), generator.uniform(0, 99, (2000, 4)).astype(np.float32)
    for number, box in enumerate(boxes):
        codes = np.full((478, 3), number, np.uint16)
        patch = np.full((PATCH_SIDE, PATCH_SIDE), number % 256, np.uint8)
        one.add(2 * number, box, codes, number / 2000, patch)
    pieces = list(one.rows)
    assert len(pieces) < 12 and one.count == sum(map(len, pieces)) == 2000
    rows = np.concatenate(pieces)
    np.testing.assert_array_equal(rows["frame"], 2 * np.arange(2000))
    np.testing.assert_array_equal(rows["box"], boxes)
    np.testing.assert_array_equal(rows["codes"][:, 5, 1], np.arange(2000))
    np.testing.assert_array_equal(rows["patch"][:, 3, 3], np.arange(2000) % 256)
    np.testing.assert_allclose(rows["confidence"], np.arange(2000) / 2000, atol=1e-6)
    for number in (0, 15, 16, 511, 512, 1999):
        box = one.box_at(2 * number)
        assert box is not None
        np.testing.assert_array_equal(box, boxes[number])
        assert one.box_at(2 * number + 1) is None
    assert one.box_at(-1) is None and (one.first, one.last) == (0, 3998)
    np.testing.assert_array_equal([one.first_box, one.last_box], boxes[[0, -1]])
    assert one.height == pytest.approx(float((boxes[:, 3] - boxes[:, 1]).mean()), rel=1e-5)


def test_people_are_joined_by_likeness_but_never_with_themselves() -> None:
    points = np.random.default_rng(0).uniform(0, 100, (478, 3)).astype(np.float32)
    points[454], points[234] = (100, 50, 0), (0, 50, 0)
    image = scenery()
    patch = np.zeros((PATCH_SIDE, PATCH_SIDE), np.uint8)

    def tracklet(shot: int, frames: range, seed: int) -> Tracklet:
        face = points + np.random.default_rng(seed).normal(0, 10, points.shape).astype(np.float32)
        face[:, :2] += 100
        one = Tracklet(shot)
        one.identity.see(np.roll(image, 50 * seed, 0), face, 1.0)
        for frame in frames:
            one.add(frame, *encode_landmarks(face), 1.0, patch)
        return one

    tracklets = [
        tracklet(0, range(10), 1),
        tracklet(0, range(10), 2),
        tracklet(1, range(10, 18), 2),
        tracklet(1, range(10, 18), 1),
    ]
    shots = np.repeat([0, 1], [10, 8]).astype(np.int32)
    tracks = people(tracklets, SIZE, np.arange(18) / 25, shots, 0.4, 8)
    assert len(tracks) == 2
    for track in tracks:
        np.testing.assert_array_equal(track.codes[0], track.codes[17])
    unknown = unlikeness([Identity(), tracklets[0].identity])
    assert np.isnan(unknown[0]).all() and unknown[1, 1] == pytest.approx(0, abs=1e-3)


# Bad footage


@pytest.mark.parametrize("size", [(8, 8), (640, 360), (1, 1)])
@pytest.mark.parametrize("value", [0, 128])
def test_nothing_to_see(size: tuple[int, int], value: int) -> None:
    image = np.full((size[1], size[0], 3), value, np.uint8)
    with pytest.raises(NoFaceError, match="no face") as caught:
        track_faces(ActorVideo(lambda i: image, 3, size))
    assert "\n" not in str(caught.value)


def test_scenery_has_no_face() -> None:
    with pytest.raises(NoFaceError):
        track_faces(ActorVideo(lambda i: scenery(i), 6))


def test_no_frames_at_all() -> None:
    with pytest.raises(NoFaceError):
        track_faces(ActorVideo(lambda i: scenery(), 0))


def test_single_frame() -> None:
    (track,) = track_faces(ActorVideo(lambda i: paste(scenery(), (320, 180), 240), 1))
    assert track.present.all()


def test_options_are_obeyed() -> None:
    reel = ActorVideo(lambda i: paste(scenery(), (320, 180), 240 * (i not in (5, 6)) + 1), 12)
    options = TrackingOptions(windows=1)
    (track,) = track_faces(reel, options=options, gap_limit_seconds=0)
    assert runs(track) == [(0, 4), (7, 11)]


def test_standard_error_stays_clean() -> None:
    code = (
        "import numpy as np\n"
        "from preprocessing.face_mesh import FaceMesh\n"
        "from preprocessing.face_detector import FaceDetector, tiles\n"
        "image = np.zeros((90, 90, 3), np.uint8)\n"
        "with FaceMesh() as mesh, FaceDetector() as detector:\n"
        "    detector.search(image, tiles((90, 90), 60)[0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stderr == "" and done.stdout == ""


# Actor sheet


def test_actor_sheet(walk: tuple[ActorVideo, Track], tmp_path: Path) -> None:
    reel, track = walk
    path = tmp_path / "sheet.png"
    sheet = draw_actor_sheet(reel, [track], path)
    assert sheet.shape[1:] == (1280, 3) and sheet.dtype == np.uint8
    np.testing.assert_array_equal(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), sheet)
    assert len(draw_actor_sheet(reel, [])) > 50
    with pytest.raises(OutputError):
        draw_actor_sheet(reel, [track], tmp_path / "sheet.unknown")
    with pytest.raises(OutputError):
        draw_actor_sheet(reel, [track], tmp_path / "missing" / "sheet.png")


# Real footage


@pytest.mark.parametrize(
    ("name", "actors"),
    [("four_faces", 4), ("wide_720p", 1), ("film_720p", 1), ("glasses_224", 1)],
)
def test_real_footage(name: str, actors: int) -> None:
    path = CLIPS / f"{name}.mp4"
    if not path.exists():
        pytest.skip(f"{path} is not here; set NED_CLIPS to the folder of real clips")
    from ned.core.film.clip import Clip

    class Beginning:
        def __init__(self, clip: Clip) -> None:
            self.clip, self.size, self.frame_count = clip, clip.size, 30

        def frames(self) -> Iterator:
            for frame, _ in zip(self.clip.frames(), range(30), strict=False):
                yield frame

    tracks = track_faces(Beginning(Clip.open(path)))
    assert len(tracks) == actors
    for track in tracks:
        assert track.present.all() and track.shots.max() == 0
        assert np.median(track.confidence) > 0.8


# Reading ahead


def test_ahead_keeps_order_and_ends() -> None:
    assert list(ahead(range(50), depth=3)) == list(range(50))
    assert list(ahead([])) == []


def test_ahead_raises_after_the_items_before() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("disk gone")

    seen = []
    with pytest.raises(OSError, match="disk gone"):
        for item in ahead(broken()):
            seen.append(item)
    assert seen == [1]


def test_ahead_stops_with_its_consumer() -> None:
    made = []

    def endless() -> Iterator[int]:
        while True:
            made.append(len(made))
            yield made[-1]

    items = ahead(endless(), depth=2)
    assert next(items) == 0
    items.close()  # type: ignore[attr-defined]
    count = len(made)
    assert count <= 5
    assert not any(thread.name == "read ahead" for thread in threading.enumerate())
