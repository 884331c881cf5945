"""Crop boxes: gaps, smoothing, crops; algebra first, then golden vectors, then footage."""

from __future__ import annotations

import numpy as np
import pytest

from ned.core.errors import NoFaceError
from ned.core.face import similarity
from ned.core.face.track import Track
from preprocessing import boxes


def test_gaps_take_the_next_box_and_at_the_end_the_previous():
    raw = np.full((6, 4), np.nan)
    raw[1], raw[3] = np.full(4, 1.0), np.full(4, 3.0)
    assert boxes.fill_gaps(raw)[:, 0].tolist() == [1, 1, 3, 3, 3, 3]


def test_nothing_to_cut_out_is_said():
    with pytest.raises(NoFaceError, match="no face was found in 3 frames"):
        boxes.fill_gaps(np.full((3, 4), np.nan))


def test_smooth_boxes_are_square_and_keep_a_steady_box():
    steady = np.tile(np.array([100, 50, 180, 150], np.float32), (60, 1))
    steady[30] += np.float32(40)  # one wrong detection
    smooth = boxes.smooth_boxes(steady)
    np.testing.assert_allclose(smooth, np.tile([90, 50, 190, 150], (60, 1)))
    moved = boxes.smooth_boxes(steady, recentre=0.1)
    np.testing.assert_allclose(moved - smooth, np.tile([0, 10, 0, 10], (60, 1)), atol=1e-5)


def test_crop_box_grows_by_the_margin_and_stays_in_the_frame():
    face = np.array([[200.0, 100, 386, 286], [-50, -80, 136, 106], [900, 900, 990, 990]])
    assert boxes.crop_box(face, (640, 480)).tolist() == [
        [165, 65, 421, 321],
        [0, 0, 171, 141],
        [639, 479, 640, 480],
    ]


def test_crop_is_where_the_map_says():
    image = np.zeros((120, 160, 3), np.uint8)
    image[60:64, 80:84] = 255
    box = np.array([40, 20, 120, 100])
    crop = boxes.cut(image, box, 160)
    rows, columns = np.nonzero(crop[..., 0] > 127)
    place = similarity.apply(boxes.crop_from_frame(box, 160), np.array([[82.0, 62.0]]))
    np.testing.assert_allclose(place, [[columns.mean(), rows.mean()]], atol=0.01)


def test_shots_are_smoothed_apart():
    track = Track.empty(40, (400, 300))
    track.shots[20:30], track.shots[30:] = 1, 2
    track.confidence[:25], track.confidence[25:30] = 1, 0
    track.boxes[:20], track.boxes[20:25] = (100, 86, 200, 186), (200, 100, 280, 200)
    cuts = boxes.crop_boxes(track)
    assert len(np.unique(cuts[:20], axis=0)) == 1
    assert len(np.unique(cuts[20:], axis=0)) == 1
    x1, y1, x2, y2 = cuts[0]
    assert x2 - x1 == pytest.approx(114 * 256 / 186, abs=1)
    assert (x1 + x2) / 2 == pytest.approx(150, abs=1)
    assert (y1 + y2) / 2 == pytest.approx(129, abs=1)


def test_golden_boxes(golden):
    arrays = golden["bbox.npz"]
    for count in (3, 12, 70):
        smooth = boxes.smooth_boxes(arrays[f"raw_boxes_{count}"])
        golden.check("bbox.npz", f"smooth_boxes_{count}", smooth)
    lower = boxes.smooth_boxes(arrays["raw_boxes_12"], recentre=0.1)
    golden.check("bbox.npz", "smooth_boxes_12_recentre0.1", lower)


def test_golden_crops(golden):
    arrays = golden["bbox.npz"]
    frame = arrays["frame_rgb"]
    found = boxes.crop_box(arrays["crop_boxes"], (frame.shape[1], frame.shape[0]))
    golden.check("bbox.npz", "crop_int_boxes", found)
    golden.check("bbox.npz", "crop_faces_u8", np.stack([boxes.cut(frame, box) for box in found]))
