"""The renderer: pixels move as the mesh does, and nothing else moves."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from acted_faces import acted, turned, units_from
from numpy.typing import NDArray

from deca.rig import Rig, load_rig
from manipulator.directing import direct_performance
from manipulator.director import Direction
from manipulator.prototypes import load_prototypes
from ned.core.face import mesh as face
from ned.core.face.performance import Performance
from ned.core.face.track import Track, steady_landmarks
from ned.core.script.timeline import Timeline
from renderer.strength import StrengthSettings, edit_strength, skipped_frames
from renderer.warp.raster import paint
from renderer.warp.renderer import FaceEdit, WarpRenderer, surface
from renderer.warp.shading import Shading

Planes = tuple[NDArray, NDArray, NDArray]
SHOWN = tuple(name for name in load_prototypes() if name != "neutral")
SCALE = 160.0
HEIGHT, WIDTH = 480, 640
LIMITED = (16, 128)


@pytest.fixture(scope="module")
def rig() -> Rig:
    return load_rig()


@pytest.fixture(scope="module")
def renderer() -> WarpRenderer:
    return WarpRenderer()


def texture(height: int, width: int, seed: int = 0, softness: float = 1.5) -> NDArray[np.uint8]:
    """Blurred noise from 20 to 235: no two places of it look alike."""
    noise = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), softness)
    soft = (soft - soft.min()) / np.ptp(soft)
    return np.rint(20 + 215 * soft).astype(np.uint8)


def picture(across: int = 2, down: int = 2, softness: float = 1.5) -> Planes:
    """Y, U and V of a noisy picture with so many luma samples per chroma sample."""
    chroma = (HEIGHT // down, WIDTH // across)
    return (
        texture(HEIGHT, WIDTH, 0, softness),
        texture(*chroma, 1, softness),
        texture(*chroma, 2, softness),
    )


def still(rig: Rig, **pose: float) -> Performance:
    """One frame of the mean face at rest, 160 pixels between its eyes."""
    units = np.zeros((1, len(rig)), np.float32)
    return acted(units, turned(**pose), scale=SCALE, place=(320.0, 200.0))


def emotion_change(
    rig: Rig, performance: Performance, emotion: str, weight: float
) -> NDArray[np.float32]:
    direction = Direction(Timeline.constant({emotion: weight}))
    return direct_performance(performance, direction, rig).change[0]


def edit_of(
    rig: Rig, performance: Performance, change: NDArray[np.float32], shaded: bool = False
) -> FaceEdit:
    """The edit that a change of activations makes of a performance's first frame."""
    turned_ = rig.displacement(change) @ performance.rotation[0].T
    moved = turned_[:, :2] * (np.array([1, -1], np.float32) * performance.scale[0])
    shade = Shading(rig).texture(change) if shaded else None
    return FaceEdit(performance.track.landmarks(0, 1)[0], performance.rotation[0], moved, shade)


def shifted(performance: Performance, dx: float, dy: float) -> FaceEdit:
    """An edit that moves every point of the face by the same pixels."""
    moved = np.tile(np.array([[dx, dy]], np.float32), (468, 1))
    return FaceEdit(performance.track.landmarks(0, 1)[0], performance.rotation[0], moved)


def outline(edit: FaceEdit, margin: int = 0) -> NDArray[np.bool_]:
    """(HEIGHT, WIDTH) True inside the outermost ring of the painted surface."""
    points, _ = surface.complete(edit.landmarks[:468, :2], edit.displacement)
    count = len(surface.OVAL)
    ring = points[468 + count : 468 + 2 * count]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(mask, [np.rint(ring).astype(np.int32)], 1)
    return cv2.dilate(mask, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)) > 0


# Raster


def paint_slowly(
    points: NDArray[np.float32],
    attributes: NDArray[np.float32],
    triangles: NDArray[np.int32],
    culled_from: int,
    canvas: NDArray[np.float32],
) -> None:
    """The readable twin of `paint`: every triangle, every cell, solve for the weights."""
    for number, triangle in enumerate(triangles):
        corners = points[triangle].astype(np.float64)
        (bx, by), (cx, cy) = corners[1] - corners[0], corners[2] - corners[0]
        area = bx * cy - by * cx
        if abs(area) < 1e-9 or (number >= culled_from and area >= 0):
            continue
        matrix = np.concatenate([corners.T, np.ones((1, 3))])
        for row in range(canvas.shape[0]):
            for column in range(canvas.shape[1]):
                weights = np.linalg.solve(matrix, [column + 0.5, row + 0.5, 1])
                if (weights >= -1e-6).all():
                    canvas[row, column] = weights @ attributes[triangle]


@pytest.mark.parametrize("culled_from", [0, 6, 99])
def test_paint_equals_its_slow_twin(culled_from: int) -> None:
    generator = np.random.default_rng(5)
    points = generator.uniform(-6, 30, (16, 2)).astype(np.float32)  # some lie outside
    attributes = generator.standard_normal((16, 3)).astype(np.float32)
    triangles = np.array([generator.permutation(16)[:3] for _ in range(14)], np.int32)
    fast = np.full((20, 26, 3), 7, np.float32)
    slow = fast.copy()
    paint(points, attributes, triangles, culled_from, fast)
    paint_slowly(points, attributes, triangles, culled_from, slow)
    assert (slow != 7).any()
    np.testing.assert_allclose(fast, slow, atol=1e-4)


def test_later_triangles_cover_earlier_ones() -> None:
    points = np.array([[0, 0], [0, 9], [9, 0], [0, 0], [0, 9], [9, 0]], np.float32)
    values = np.array([[1]] * 3 + [[2]] * 3, np.float32)
    both = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    for order, seen in ((both, 2), (both[::-1].copy(), 1)):
        canvas = np.zeros((10, 10, 1), np.float32)
        paint(points, values, order, 9, canvas)
        assert set(np.unique(canvas)) == {0, seen}


def test_only_what_faces_the_camera_is_painted_after_the_limit() -> None:
    points = np.array([[0, 0], [0, 9], [9, 0]], np.float32)
    values = np.ones((3, 1), np.float32)
    toward = np.array([[0, 1, 2]], np.int32)  # counterclockwise as seen, y down
    for triangles, culled_from, painted in (
        (toward, 0, True),
        (toward[:, ::-1].copy(), 0, False),
        (toward[:, ::-1].copy(), 1, True),
    ):
        canvas = np.zeros((10, 10, 1), np.float32)
        paint(points, values, triangles, culled_from, canvas)
        assert canvas.any() == painted


def test_skin_of_a_frontal_face_is_painted_whole(rig: Rig) -> None:
    """All of the mesh faces the camera by the raster's own rule."""
    triangles, skin_from = surface.triangles()
    landmarks = still(rig).track.landmarks()[0]
    ones = np.ones((468, 1), np.float32)
    culled, whole = np.zeros((2, HEIGHT, WIDTH, 1), np.float32)
    paint(landmarks[:468, :2].copy(), ones, triangles[skin_from:], 0, culled)
    paint(landmarks[:468, :2].copy(), ones, triangles[skin_from:], 10**6, whole)
    assert np.array_equal(culled, whole)
    assert culled.sum() > 10000


# Surface


def test_margin_fades_to_stillness(rig: Rig) -> None:
    landmarks = still(rig).track.landmarks()[0, :468, :2]
    moved = np.ones((468, 2), np.float32)
    points, moves = surface.complete(landmarks, moved)
    assert points.shape == moves.shape == (surface.POINTS, 2)
    assert np.array_equal(points[:468], landmarks)
    count = len(surface.OVAL)
    inner, outer = moves[468 : 468 + count], moves[468 + count : 468 + 2 * count]
    assert 0 < inner.max() < 1
    assert not outer.any()


def test_painting_leaves_no_hole_in_the_face(rig: Rig) -> None:
    triangles, _ = surface.triangles()
    performance = still(rig)
    edit = shifted(performance, 0, 0)
    points, _ = surface.complete(edit.landmarks[:468, :2], edit.displacement)
    canvas = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    paint(points, np.ones((len(points), 1), np.float32), triangles, 10**6, canvas)
    inside = cv2.erode(outline(edit).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert (canvas[inside] > 0).all()


# Warp


@pytest.mark.parametrize("bits", [8, 10])
def test_no_edit_returns_the_same_planes(bits: int, renderer: WarpRenderer, rig: Rig) -> None:
    planes = picture()
    if bits == 10:
        planes = tuple(plane.astype(np.uint16) * 4 for plane in planes)  # type: ignore[assignment]
    zero = shifted(still(rig), 0, 0)
    for edits in ([], [zero], [zero, zero]):
        result = renderer.render(planes, edits, *LIMITED)
        assert all(a is b for a, b in zip(result, planes, strict=True))


@pytest.mark.parametrize("emotion", SHOWN)
@pytest.mark.parametrize("shaded", [False, True])
def test_pixels_outside_the_outermost_ring_stay(
    emotion: str, shaded: bool, renderer: WarpRenderer, rig: Rig
) -> None:
    performance = still(rig)
    edit = edit_of(rig, performance, emotion_change(rig, performance, emotion, 1.5), shaded)
    planes = picture()
    copies = [plane.copy() for plane in planes]
    result = renderer.render(planes, [edit], *LIMITED)
    assert all(np.array_equal(a, b) for a, b in zip(planes, copies, strict=True))
    luma = outline(edit, 5)  # the ring, and as far as the painted field is blurred
    half = cv2.resize(outline(edit, 7).astype(np.uint8), (WIDTH // 2, HEIGHT // 2)) > 0
    for before, after, inside in zip(planes, result, (luma, half, half), strict=True):
        assert before.dtype == after.dtype
        assert np.array_equal(before[~inside], after[~inside])
        assert (before[inside] != after[inside]).mean() > 0.02


@pytest.mark.parametrize(("across", "down"), [(1, 1), (2, 1), (2, 2)], ids=["444", "422", "420"])
def test_a_shift_moves_the_interior_by_as_much(
    across: int, down: int, renderer: WarpRenderer, rig: Rig
) -> None:
    performance = still(rig)
    edit = shifted(performance, 4, -2)
    facing = renderer.facing(performance.rotation[0])
    inner = [4, 5, 6, 168, 151, 9, 50, 280]  # nose, forehead, cheeks
    assert facing[inner].min() == 1
    planes = picture(across, down)
    result = renderer.render(planes, [edit], *LIMITED)
    for k, (before, after) in enumerate(zip(planes, result, strict=True)):
        step_x, step_y = (1, 1) if k == 0 else (across, down)
        dx, dy = 4 // step_x, -2 // step_y
        for point in (168, 151, 4):
            x, y = np.rint(edit.landmarks[point, :2] / (step_x, step_y)).astype(int)
            here = (slice(y - 3, y + 4), slice(x - 3, x + 4))
            there = (slice(y - dy - 3, y - dy + 4), slice(x - dx - 3, x - dx + 4))
            assert np.array_equal(after[here], before[there])
            assert not np.array_equal(after[here], before[here])


@pytest.mark.parametrize(("across", "down"), [(1, 1), (2, 1), (2, 2)], ids=["444", "422", "420"])
def test_luma_and_chroma_move_together(
    across: int, down: int, renderer: WarpRenderer, rig: Rig
) -> None:
    performance = still(rig)
    edit = edit_of(rig, performance, emotion_change(rig, performance, "happy", 1.0))
    luma = texture(HEIGHT, WIDTH, 4, softness=6)
    size = (WIDTH // across, HEIGHT // down)
    chroma = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    result = renderer.render((luma, chroma, chroma), [edit], *LIMITED)
    wanted = cv2.resize(result[0], size, interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(wanted - chroma).max() > 20  # it did move
    assert np.abs(wanted - result[1]).mean() < 0.5
    assert np.quantile(np.abs(wanted - result[1]), 0.999) < 8
    assert np.array_equal(result[1], result[2])


@pytest.mark.parametrize("shaded", [False, True])
def test_ten_bits_are_eight_bits_with_more_digits(
    shaded: bool, renderer: WarpRenderer, rig: Rig
) -> None:
    performance = still(rig)
    edit = edit_of(rig, performance, emotion_change(rig, performance, "angry", 1.0), shaded)
    planes = picture()
    fine = tuple(plane.astype(np.uint16) * 4 for plane in planes)
    coarse = renderer.render(planes, [edit], 16, 128)
    result = renderer.render(fine, [edit], 64, 512)  # type: ignore[arg-type]
    for a, b in zip(coarse, result, strict=True):
        assert b.dtype == np.uint16
        distance = np.abs(4 * a.astype(int) - b.astype(int))
        assert distance.max() <= 8
        assert (distance > 4).mean() < 1e-3


@pytest.mark.parametrize("shaded", [False, True])
@pytest.mark.parametrize(("kind", "top"), [(np.uint8, 255), (np.uint16, 1023)])
def test_sharp_highlights_stay_in_range(
    kind: type, top: int, shaded: bool, renderer: WarpRenderer, rig: Rig
) -> None:
    performance = still(rig)
    edit = edit_of(rig, performance, emotion_change(rig, performance, "happy", 1.0), shaded)
    dots = np.random.default_rng(3).integers(0, 2, (HEIGHT, WIDTH)) * top
    plane = dots.astype(kind)
    for after in renderer.render((plane, plane, plane), [edit], 0, top // 2 + 1):
        assert after.max() == top
        assert not np.array_equal(after, plane)


def test_shade_darkens_and_lightens_but_keeps_black(renderer: WarpRenderer, rig: Rig) -> None:
    performance = still(rig)
    rows, columns = Shading(rig).frame.shape
    zero = shifted(performance, 0, 0)
    grey = np.full((HEIGHT, WIDTH), 116, np.uint8)
    chroma = np.full((HEIGHT // 2, WIDTH // 2), 148, np.uint8)
    black = np.full((HEIGHT, WIDTH), 16, np.uint8)
    x, y = np.rint(zero.landmarks[168, :2]).astype(int)
    for ratio in (0.8, 1.25):
        shade = np.full((rows, columns), np.log(ratio), np.float32)
        edit = FaceEdit(zero.landmarks, zero.rotation, zero.displacement, shade)
        luma, u, _ = renderer.render((grey, chroma, chroma), [edit], 16, 128)
        assert luma[y, x] == round(16 + ratio * 100)
        assert u[y // 2, x // 2] == round(128 + ratio * 20)
        assert luma[2, 2] == 116
        dark, _, _ = renderer.render((black, chroma, chroma), [edit], 16, 128)
        assert np.array_equal(dark, black)


def test_shade_of_the_forehead_stays_there(renderer: WarpRenderer, rig: Rig) -> None:
    """The margin beside the cheeks is shaded as the cheeks are: not at all."""
    shading = Shading(rig)
    _, y = shading.frame.grid()
    zero = shifted(still(rig), 0, 0)
    shade = np.where(y > 0.2, np.float32(-0.4), 0).astype(np.float32)
    edit = FaceEdit(zero.landmarks, zero.rotation, zero.displacement, shade)
    grey = np.full((HEIGHT, WIDTH), 200, np.uint8)
    luma, _, _ = renderer.render((grey, grey, grey), [edit], *LIMITED)
    eyes = int(zero.landmarks[[33, 263], 1].mean())
    assert (luma[eyes:] == 200).all()
    assert (luma[: eyes - 40] < 150).any()


def test_every_painted_point_has_its_owner(rig: Rig) -> None:
    landmarks = still(rig).track.landmarks()[0, :468, :2]
    points, _ = surface.complete(landmarks, np.zeros((468, 2), np.float32))
    owners = surface.owners()
    assert len(owners) == surface.POINTS
    assert np.array_equal(owners[:468], np.arange(468))
    distance = np.linalg.norm(points - landmarks[owners], axis=1)
    assert distance[468:].max() < 0.5 * np.ptp(landmarks[:, 1])
    nearest = np.linalg.norm(points[468:, None] - landmarks[None], axis=2).min(1)
    assert (distance[468:] < nearest + 0.05 * SCALE).mean() > 0.9


@pytest.mark.parametrize("emotion", SHOWN)
def test_moderate_edits_do_not_fold_the_skin(
    emotion: str, renderer: WarpRenderer, rig: Rig
) -> None:
    frontal = still(rig)
    change = emotion_change(rig, frontal, emotion, 0.8)
    assert jacobian(renderer, edit_of(rig, frontal, change)).min() > 0.05
    for pose in ({"yaw": 25.0}, {"yaw": -25.0}, {"pitch": -15.0, "roll": 20.0}):
        performance = still(rig, **pose)
        determinant = jacobian(renderer, edit_of(rig, performance, change))
        assert (determinant <= 0).mean() < 1e-3  # a wing of the nose that hides the cheek


def test_a_fold_would_be_seen(renderer: WarpRenderer, rig: Rig) -> None:
    edit = shifted(still(rig), 0, 0)
    edit.displacement[:, 0] = 30 * np.sin(edit.landmarks[:468, 0] / 6)
    assert (jacobian(renderer, edit) <= 0).mean() > 0.02


def jacobian(renderer: WarpRenderer, edit: FaceEdit) -> NDArray[np.float32]:
    """Determinant of the backward map at every pixel of the skin, lip and lid lines left out."""
    window = renderer._field(edit, (HEIGHT, WIDTH))
    assert window is not None
    x0, y0, x1, y1 = window.box
    large = window.sample(x0, y0, (x1 - x0, y1 - y0), (1.0, 1.0))
    across_y, across_x = np.gradient(large[..., 0])
    down_y, down_x = np.gradient(large[..., 1])
    determinant = (1 + across_x) * (1 + down_y) - across_y * down_x
    triangles, skin_from = surface.triangles()
    points, moves = surface.complete(edit.landmarks[:468, :2], edit.displacement)
    canvas = np.zeros((y1 - y0, x1 - x0, 1), np.float32)
    target = (points + moves - np.array([x0, y0])).astype(np.float32)
    paint(target, np.ones((len(target), 1), np.float32), triangles[skin_from:], 0, canvas)
    skin = cv2.erode(canvas[..., 0], np.ones((7, 7))) > 0
    assert skin.sum() > 5000
    return determinant[skin]


@pytest.mark.parametrize(
    "place", [(0.0, 200.0), (640.0, 200.0), (320.0, 0.0), (320.0, 480.0), (30.0, 20.0)]
)
def test_a_face_partly_outside_the_picture(
    place: tuple[float, float], renderer: WarpRenderer, rig: Rig
) -> None:
    units = np.zeros((1, len(rig)), np.float32)
    performance = acted(units, scale=SCALE, place=place)
    edit = edit_of(rig, performance, emotion_change(rig, performance, "surprised", 1.0), True)
    planes = picture()
    result = renderer.render(planes, [edit], *LIMITED)
    inside = outline(edit, 2)
    assert np.array_equal(result[0][~inside], planes[0][~inside])
    assert (result[0][inside] != planes[0][inside]).mean() > 0.05


@pytest.mark.parametrize("place", [(-900.0, 200.0), (320.0, 2000.0), (1500.0, -700.0)])
def test_a_face_wholly_outside_changes_nothing(
    place: tuple[float, float], renderer: WarpRenderer, rig: Rig
) -> None:
    units = np.zeros((1, len(rig)), np.float32)
    performance = acted(units, scale=SCALE, place=place)
    edit = edit_of(rig, performance, emotion_change(rig, performance, "angry", 1.0), True)
    planes = picture()
    result = renderer.render(planes, [edit], *LIMITED)
    assert all(np.array_equal(a, b) for a, b in zip(result, planes, strict=True))


@pytest.mark.parametrize("scale", [3.0, 10.0, 28.0])  # 28 pixels: 40 from forehead to chin
def test_a_tiny_face(scale: float, renderer: WarpRenderer, rig: Rig) -> None:
    performance = acted(np.zeros((1, len(rig)), np.float32), scale=scale)
    edit = edit_of(rig, performance, emotion_change(rig, performance, "happy", 1.5), True)
    planes = picture()
    result = renderer.render(planes, [edit], *LIMITED)
    inside = outline(edit, 5)
    assert np.array_equal(result[0][~inside], planes[0][~inside])
    if scale == 28:
        assert (result[0][inside] != planes[0][inside]).mean() > 0.1


def test_odd_sizes(renderer: WarpRenderer, rig: Rig) -> None:
    performance = acted(np.zeros((1, len(rig)), np.float32), scale=SCALE, place=(300.0, 190.0))
    edit = edit_of(rig, performance, emotion_change(rig, performance, "sad", 1.0), True)
    planes = (texture(401, 499), texture(201, 250, 1), texture(201, 250, 2))
    result = renderer.render(planes, [edit], *LIMITED)
    assert [plane.shape for plane in result] == [(401, 499), (201, 250), (201, 250)]
    assert (result[1] != planes[1]).any()


def test_two_faces_in_one_picture(renderer: WarpRenderer, rig: Rig) -> None:
    """Side by side with overlapping boxes, each is edited as if it were alone."""
    edits, alone = [], []
    planes = picture()
    for x in (200.0, 440.0):
        units = np.zeros((1, len(rig)), np.float32)
        performance = acted(units, scale=SCALE, place=(x, 200.0))
        change = emotion_change(rig, performance, "happy", 1.0)
        edits.append(edit_of(rig, performance, change))
        alone.append(renderer.render(planes, [edits[-1]], *LIMITED))
    boxes = [renderer._field(edit, (HEIGHT, WIDTH)) for edit in edits]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0].box[2] > boxes[1].box[0]  # they do overlap
    both = renderer.render(planes, edits, *LIMITED)
    for edit, single in zip(edits, alone, strict=True):
        x, y = np.rint(edit.landmarks[0, :2]).astype(int)
        mouth = (slice(y - 30, y + 40), slice(x - 60, x + 60))
        assert np.array_equal(both[0][mouth], single[0][mouth])
        assert not np.array_equal(both[0][mouth], planes[0][mouth])


def test_a_profile_does_not_drag_the_background(renderer: WarpRenderer, rig: Rig) -> None:
    """What looks away from the camera does not move."""
    performance = still(rig, yaw=60.0)
    facing = renderer.facing(performance.rotation[0])
    assert facing[[454, 323, 361]].max() == 0  # the far side of the outline
    assert facing[[50, 205]].min() > 0.9
    assert (renderer.facing(np.eye(3, dtype=np.float32)) == 1).mean() > 0.6
    window = renderer._field(shifted(performance, 6, 0), (HEIGHT, WIDTH))
    assert window is not None
    moves = window.moves
    assert not moves[[454, 323, 361]].any()
    np.testing.assert_allclose(moves[[50, 205], 0], 6, rtol=0.1)


# Eyes


@pytest.mark.parametrize(
    ("unit", "amount"), [("upper_lid_raise", 1.0), ("lid_tighten", 0.8), ("lid_close", 0.25)]
)
def test_eyeballs_stay_while_lids_move(
    unit: str, amount: float, renderer: WarpRenderer, rig: Rig
) -> None:
    performance = still(rig)
    edit = edit_of(rig, performance, units_from(rig, 1, {unit: np.array([amount])})[0])
    planes = picture()
    result = renderer.render(planes, [edit], *LIMITED)
    for iris in (468, 473):
        x, y = np.floor(edit.landmarks[iris, :2]).astype(int)
        here = (slice(y - 1, y + 2), slice(x - 3, x + 4))
        assert np.array_equal(result[0][here], planes[0][here])
        half = (slice(y // 2, y // 2 + 1), slice(x // 2 - 1, x // 2 + 2))
        assert np.array_equal(result[1][half], planes[1][half])
    lid = np.rint(edit.landmarks[159 if unit != "lid_tighten" else 145, :2]).astype(int)
    around = (slice(lid[1] - 8, lid[1] + 9), slice(lid[0] - 6, lid[0] + 7))
    assert (result[0][around] != planes[0][around]).mean() > 0.2


def test_a_closing_lid_covers_the_eyeball(renderer: WarpRenderer, rig: Rig) -> None:
    """Skin of the lid is where the iris was."""
    performance = still(rig)
    edit = edit_of(rig, performance, units_from(rig, 1, {"lid_close": np.ones(1)})[0])
    luma = np.full((HEIGHT, WIDTH), 200, np.uint8)
    for upper, lower in (
        (face.RIGHT_UPPER_LID, face.RIGHT_LOWER_LID),
        (face.LEFT_UPPER_LID, face.LEFT_LOWER_LID),
    ):
        eye = edit.landmarks[[*upper, *lower[::-1]], :2]
        cv2.fillPoly(luma, [np.rint(eye).astype(np.int32)], 40)
    chroma = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    result = renderer.render((luma, chroma, chroma), [edit], *LIMITED)[0]
    for iris in (468, 473):
        x, y = np.rint(edit.landmarks[iris, :2]).astype(int)
        assert luma[y, x] == 40
        assert result[y - 2, x] > 150


def test_a_shut_eye_is_left_to_the_skin(
    renderer: WarpRenderer, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No eyeball is painted where the source shows none."""
    brows = units_from(rig, 1, {"brow_lower": np.ones(1)})[0]
    planes = picture()

    def render_both_ways(closure: float) -> tuple[Planes, Planes]:
        units = units_from(rig, 1, {"lid_close": np.full(1, closure)})
        edit = edit_of(rig, acted(units, scale=SCALE), brows)
        result = renderer.render(planes, [edit], *LIMITED)
        with monkeypatch.context() as patch:
            patch.setattr("renderer.warp.renderer.keep_eyeballs", lambda *_: None)
            return result, renderer.render(planes, [edit], *LIMITED)

    shut, plain = render_both_ways(0.75)
    assert not np.array_equal(shut[0], planes[0])
    assert np.array_equal(shut[0], plain[0])
    parted, plain = render_both_ways(0.0)
    assert not np.array_equal(parted[0], plain[0])


# Shading


@pytest.fixture(scope="module")
def shading(rig: Rig) -> Shading:
    return Shading(rig)


def test_no_change_no_shade(shading: Shading, rig: Rig) -> None:
    assert shading.texture(np.zeros(len(rig), np.float32)) is None
    speech = units_from(rig, 1, {"jaw_open": np.ones(1), "pucker": np.ones(1)})[0]
    assert shading.texture(speech) is None


@pytest.mark.parametrize("emotion", SHOWN)
def test_shade_is_bounded_and_somewhere(emotion: str, shading: Shading, rig: Rig) -> None:
    darkest, lightest = shading.limits
    for factor in (0.3, 1.0, 50.0):
        change = factor * load_prototypes()[emotion].amounts(rig, 0)
        shade = shading.texture(change)
        assert shade is not None
        assert shade.shape == shading.frame.shape
        assert shade.dtype == np.float32
        assert -darkest <= shade.min() < 0 < shade.max() <= lightest
    border = np.concatenate([shade[0], shade[-1], shade[:, 0], shade[:, -1]])
    assert np.abs(border).max() < 0.02


def test_shade_of_a_symmetric_change_is_symmetric(shading: Shading, rig: Rig) -> None:
    change = load_prototypes()["happy"].amounts(rig, 0) + load_prototypes()["sad"].amounts(rig, 0)
    shade = shading.texture(change)
    assert shade is not None
    np.testing.assert_allclose(shade, shade[:, ::-1], atol=1e-4)
    one = units_from(rig, 1, {"brow_lower_right": np.ones(1)})[0]
    other = units_from(rig, 1, {"brow_lower_left": np.ones(1)})[0]
    right, left = shading.texture(one), shading.texture(other)
    assert right is not None
    assert left is not None
    np.testing.assert_allclose(right, left[:, ::-1], atol=1e-4)
    middle = shading.frame.shape[1] // 2
    assert np.abs(right[:, :middle]).sum() > 2 * np.abs(right[:, middle:]).sum()


def test_relaxing_takes_half_the_shade_away(shading: Shading, rig: Rig) -> None:
    tense = shading.texture(units_from(rig, 1, {"brow_lower": np.full(1, 0.05)})[0])
    loose = shading.texture(units_from(rig, 1, {"brow_lower": np.full(1, -0.05)})[0])
    assert tense is not None
    assert loose is not None
    dark = tense < -0.005
    np.testing.assert_allclose(loose[dark], -0.5 * tense[dark], rtol=0.1, atol=1e-3)


def test_texture_lies_on_the_face(shading: Shading, rig: Rig) -> None:
    """Coordinates of a texel's centre are that texel."""
    x, y = shading.frame.grid()
    points = np.stack([x, y, np.zeros_like(x)], axis=-1)[100:110, 50:60].reshape(-1, 3)
    rows, columns = np.mgrid[100:110, 50:60]
    texels = shading.frame.coordinates(points)
    np.testing.assert_allclose(texels[:, 0], columns.ravel(), atol=1e-3)
    np.testing.assert_allclose(texels[:, 1], rows.ravel(), atol=1e-3)
    face_points = shading.frame.coordinates(rig.mesh.neutral)
    height, width = shading.frame.shape
    assert (face_points > 0).all()
    assert (face_points < (width, height)).all()


# Strength


def posed(
    rig: Rig,
    yaw: NDArray[np.floating] | float = 0.0,
    pitch: NDArray[np.floating] | float = 0.0,
    count: int = 50,
    **more: object,
) -> Performance:
    units = np.zeros((count, len(rig)), np.float32)
    return acted(units, turned(yaw, pitch, count=count), **more)  # type: ignore[arg-type]


def test_full_strength_of_a_frontal_face(rig: Rig) -> None:
    assert (edit_strength(posed(rig)) == 1).all()
    assert (edit_strength(posed(rig, 39.0)) == 1).all()
    assert (edit_strength(posed(rig, 0.0, -31.0)) == 1).all()
    assert edit_strength(posed(rig, count=1)) == pytest.approx([1])


@pytest.mark.parametrize("sign", [-1, 1])
def test_none_beyond_the_limits(sign: int, rig: Rig) -> None:
    limits = StrengthSettings()
    assert not edit_strength(posed(rig, sign * (limits.yaw[1] + 0.5))).any()
    assert not edit_strength(posed(rig, 0.0, sign * (limits.pitch[1] + 0.5))).any()
    partly = edit_strength(posed(rig, sign * (limits.yaw[0] + limits.yaw[1]) / 2))
    assert 0.2 < partly.min() <= partly.max() < 0.8


def test_strength_fades_smoothly(rig: Rig) -> None:
    yaw = np.concatenate([np.full(25, 0.0), np.full(25, 80.0), np.full(25, 0.0)])  # a whip
    strength = edit_strength(posed(rig, yaw, count=75))
    assert not strength[25:50].any()
    assert strength[0] == strength[-1] == pytest.approx(1, abs=1e-3)
    assert np.abs(np.diff(strength)).max() < 0.2
    assert (np.diff(strength[:26]) <= 1e-6).all()
    assert (np.diff(strength[49:]) >= -1e-6).all()


def test_strength_fades_around_a_gap_but_not_across_a_cut(rig: Rig) -> None:
    gap = posed(rig, absent=tuple(range(20, 25)))
    strength = edit_strength(gap)
    assert not strength[20:25].any()
    assert np.abs(np.diff(strength)).max() < 0.2
    assert strength[5] == pytest.approx(1, abs=0.01)
    shots = (np.arange(50) >= 25).astype(np.int32)
    cut = edit_strength(posed(rig, absent=tuple(range(10, 25)), shots=shots))
    assert not cut[10:25].any()
    assert (cut[25:] == 1).all()
    after = edit_strength(posed(rig, np.where(shots == 1, 80.0, 0.0), shots=shots))
    assert (after[:25] == 1).all()
    assert not after[25:].any()


def test_fades_last_as_long_at_any_frame_rate(rig: Rig) -> None:
    slow = edit_strength(posed(rig, count=50, absent=(25,), rate=25))
    fast = edit_strength(posed(rig, count=200, absent=(100, 101, 102, 103), rate=100))
    assert np.abs(fast[2::4] - slow).max() < 0.1


def test_a_hidden_face_is_not_edited_and_needs_no_fade(rig: Rig) -> None:
    performance = posed(rig)
    performance.track.confidence[20:23] = 0.1  # as interpolation leaves it
    performance.track.hidden[20:23] = True
    strength = edit_strength(performance)
    assert not strength[20:23].any()
    assert (np.delete(strength, [20, 21, 22]) == 1).all()
    assert skipped_frames(performance, strength) == [(20, 22, "hidden")]


def test_low_confidence_weakens(rig: Rig) -> None:
    performance = posed(rig)
    performance.track.confidence[:] = 0.35
    strength = edit_strength(performance)
    assert 0.3 < strength.min() <= strength.max() < 0.7
    performance.track.confidence[:] = 0.15
    assert not edit_strength(performance).any()


def test_skipped_frames_are_runs_with_reasons(rig: Rig) -> None:
    yaw = np.zeros(60)
    yaw[40:50] = 80
    performance = posed(rig, yaw, count=60, absent=(0, 1, 2))
    performance.track.confidence[20:25] = 0.1
    runs = skipped_frames(performance, edit_strength(performance))
    assert runs == [(0, 2, "no face"), (20, 24, "low confidence"), (40, 49, "turned away")]
    assert skipped_frames(posed(rig), np.ones(50, np.float32)) == []


# Anchors


def jittered(rig: Rig, noise: Callable[[int], float], **more: object) -> Track:
    """A still face whose place differs from frame to frame."""
    place = np.array([[320 + noise(k), 210.0] for k in range(12)])
    return posed(rig, count=12, place=place, **more).track


def test_steady_landmarks_keep_what_is_still_or_moves_evenly(rig: Rig) -> None:
    still_track = jittered(rig, lambda k: 0.0)
    np.testing.assert_allclose(steady_landmarks(still_track, 0, 12), still_track.landmarks())
    moving = jittered(rig, lambda k: 2.0 * k)
    steady = steady_landmarks(moving, 0, 12)
    np.testing.assert_allclose(steady[1:-1], moving.landmarks()[1:-1], atol=0.05)


def test_steady_landmarks_halve_the_tremble(rig: Rig) -> None:
    track = jittered(rig, lambda k: 0.5 * (-1) ** k)
    before, after = track.landmarks()[1:-1, 0, 0], steady_landmarks(track, 0, 12)[1:-1, 0, 0]
    assert np.ptp(after) < 0.1 * np.ptp(before)


def test_steady_landmarks_of_a_part_are_those_of_the_whole(rig: Rig) -> None:
    noise = np.random.default_rng(0).standard_normal(12)
    track = jittered(rig, lambda k: float(noise[k]))
    whole = steady_landmarks(track, 0, 12)
    for start, stop in ((0, 5), (5, 6), (6, 12), (10, 20)):
        part = steady_landmarks(track, start, stop)
        np.testing.assert_allclose(part, whole[start:stop], atol=1e-4)


def test_steady_landmarks_do_not_mix_shots_or_gaps(rig: Rig) -> None:
    shots = (np.arange(12) >= 6).astype(np.int32)
    track = jittered(rig, lambda k: 100.0 * (k >= 6), shots=shots, absent=(9,))
    steady, tracked = steady_landmarks(track, 0, 12), track.landmarks()
    here = [k for k in range(12) if k != 9]
    np.testing.assert_allclose(steady[here], tracked[here], atol=0.05)
    assert np.isnan(steady[9, :, :2]).all()
