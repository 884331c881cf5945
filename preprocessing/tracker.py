"""Tracker: follows all faces of a clip from frame to frame, and yields their tracklets."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ned.core.face.track import encode_landmarks
from preprocessing.face_detector import Detection, FaceDetector, Tile, overlap, tiles
from preprocessing.occlusion import WidePatch, face_patch
from preprocessing.persons import Tracklet
from preprocessing.shots import ShotFrame
from preprocessing.window import Window

_STEADY_SHIFT = 0.05  # of the window's side: less movement than this moves the window gently
_LARGE_SHIFT = 0.1  # more than this, and the frame is looked at again from the moved window
_GENTLE = 0.3  # share of the way that the window then follows
_TWIN_SHIFT = 0.02  # of the side: the two windows of a frame lie so much to either side
_SURE_PRESENCE, _TREMBLE = 0.9, 0.02  # a face that the detector denies must do better than this
_ALIKE = 0.5  # overlap above which two faces are suspected to be one
_LEAST_HEIGHT = 0.75  # of the smallest face wanted: a mesh this small is a mistake
_MEMORY = 64e6  # bytes of past frames at hand for faces found late
_SEE_EVERY = 0.2  # seconds between two looks at a face's identity


@dataclass(frozen=True)
class TrackingOptions:
    """How faces are searched and followed.

    Attributes:
        max_faces: Faces followed at once, and Tracks returned at most.
        gap_limit_seconds: Absences up to this long are filled by interpolation.
        smallest_face: Height in pixels of the smallest face to be found.
        search_seconds: Interval of searches, by turns of the whole frame and of one tile of it;
            half as long while no face is known.
        detection_score: Probability from which the detector's finding is looked at.
        sure_score: Probability that one of the two detectors must give before a face is taken up.
        start_presence: Probability of the mesh network from which a face is taken up.
        keep_presence: Probability below which a face counts as lost in that frame.
        windows: 1 or 2 network runs per face and frame; the mean of two trembles less
            (by 6 to 15 % on three clips).
        bundle: Face Landmarker bundle to be used in place of the mesh in MediaPipe's wheel.
    """

    max_faces: int = 8
    gap_limit_seconds: float = 0.4
    smallest_face: float = 48
    search_seconds: float = 0.25
    detection_score: float = 0.5
    sure_score: float = 0.65
    start_presence: float = 0.7
    keep_presence: float = 0.4
    windows: int = 2
    bundle: Path | None = None


class Mesh(Protocol):
    """A network that fits the 478 points: `FaceMesh` or `Landmarker`."""

    def landmarks(
        self, image: NDArray[np.uint8], windows: Sequence[Window]
    ) -> list[tuple[NDArray[np.float32], float]]:
        """Points (478, 3) in image pixels and the probability of a face, for every window."""
        ...


@dataclass
class _Face:
    """A face being followed; `points` are its landmarks (478, 3) in image pixels."""

    window: Window
    points: NDArray[np.float32]
    tracklet: Tracklet
    seen: float  # time in seconds of the last frame in which it was seen
    looked: float  # time of the last look at its identity
    checked: float  # time of the last agreement with the detector
    detected: float = 1.0  # running mean of the detector's score
    confidence: float = 1.0
    motion: tuple[float, float] = (0.0, 0.0)  # pixels from the last frame to this
    lost: bool = False
    strikes: int = 0


@dataclass(frozen=True)
class _Fit:
    """The mesh (478, 3) in one frame's pixels, and the window for the next."""

    window: Window
    points: NDArray[np.float32]
    presence: float
    tremble: float  # disagreement of two readings relative to the face's height


class Tracker:
    """The state of the pass: the faces of the current shot and the tracklets of all."""

    def __init__(
        self,
        mesh: Mesh,
        detector: FaceDetector,
        size: tuple[int, int],
        options: TrackingOptions,
        max_faces: int,
    ) -> None:
        self._mesh = mesh
        self._detector = detector
        self._size = size
        self._options = options
        self._max_faces = max_faces
        self._faces: list[_Face] = []
        self._done: list[Tracklet] = []
        self._frame = -1
        self._shot = -1
        self._searched = -math.inf
        levels = tiles(size, options.smallest_face)
        self._whole: list[Tile] = levels[0]
        self._tiles: list[Tile] = [tile for level in levels[1:] for tile in level]
        self._turn = 0
        frames = int(min(8, max(1, _MEMORY // (3 * size[0] * size[1]))))
        self._past: deque[tuple[int, ShotFrame]] = deque(maxlen=frames)

    def advance(self, shot_frame: ShotFrame) -> None:
        """Take one more frame into account."""
        self._frame += 1
        fresh = shot_frame.shot != self._shot
        if fresh:
            self._shot = shot_frame.shot
            self._past.clear()
            for face in self._faces:
                self._close(face)
            self._faces = []
        for face in self._faces:
            self._follow(face, shot_frame)
        self._separate()
        for face in self._faces:
            if not face.lost:
                self._record(face, shot_frame)
            elif shot_frame.time - face.seen > self._options.gap_limit_seconds:
                self._close(face)
            else:
                face.tracklet.wide_patches[self._frame] = WidePatch.take(
                    shot_frame.image, face.points
                )
        self._faces = [face for face in self._faces if not face.tracklet.closed]
        if fresh or self._search_is_due(shot_frame.time):
            self._search(shot_frame, self._places(everywhere=fresh))
        self._past.append((self._frame, shot_frame))

    def finish(self) -> list[Tracklet]:
        """All tracklets, in the order of their first frames."""
        for face in self._faces:
            self._close(face)
        self._faces = []
        return sorted(self._done, key=lambda each: (each.first, -each.height))

    # Searching

    def _search_is_due(self, time: float) -> bool:
        interval = self._options.search_seconds
        if not self._faces or any(face.lost for face in self._faces):
            interval /= 2
        return time - self._searched >= interval - 1e-3

    def _places(self, everywhere: bool) -> list[Tile]:
        if everywhere or not self._tiles:
            return self._whole + self._tiles
        self._turn += 1
        if self._faces and self._turn % 2:
            return self._whole
        return [
            *(self._whole if not self._faces else []),
            self._tiles[self._turn // 2 % len(self._tiles)],
        ]

    def _search(self, shot_frame: ShotFrame, places: list[Tile]) -> None:
        self._searched = shot_frame.time
        found = self._detector.search(shot_frame.image, places)
        for detection in sorted(found, key=lambda each: each.box[1] - each.box[3]):
            if len(self._faces) >= self._max_faces:
                break
            if all(overlap(detection.box, _box(face.points)) < 0.3 for face in self._faces):
                self._take_up(detection, shot_frame)

    def _take_up(self, detection: Detection, shot_frame: ShotFrame) -> None:
        fit = self._settle(shot_frame.image, detection.window())
        if fit is None:
            return
        box = _box(fit.points)
        if any(overlap(box, _box(face.points)) > _ALIKE for face in self._faces):
            return
        if overlap(box, detection.box) < 0.5 or not self._is_plausible(fit.points):
            return
        score = detection.score
        if score < self._options.sure_score:
            again = self._detector.look(shot_frame.image, fit.window)
            score = max((each.score for each in again if overlap(box, each.box) > 0.5), default=0.0)
            if score < self._options.sure_score:
                return
        face = _Face(
            window=fit.window,
            points=fit.points,
            tracklet=Tracklet(self._shot),
            seen=shot_frame.time,
            looked=-math.inf,
            checked=shot_frame.time,
            detected=score,
        )
        self._faces.append(face)
        face.confidence = self._confidence(face, fit)
        self._look_back(face)
        self._record(face, shot_frame)

    def _settle(self, image: NDArray[np.uint8], window: Window) -> _Fit | None:
        """Let the mesh converge from a detection's rough window; None if it sees no face."""
        for _ in range(2):
            points, presence = self._mesh.landmarks(image, [window])[0]
            if presence < self._options.start_presence / 2:
                return None
            window = Window.around(points)
        fit = self._fit(image, window)
        return fit if fit.presence >= self._options.start_presence else None

    def _look_back(self, face: _Face) -> None:
        """Follow a face that was found late back through the frames still at hand."""
        window, points = face.window, face.points
        others = [each.tracklet for each in self._faces if each is not face]
        others += [each for each in self._done if self._past and each.last >= self._past[0][0]]
        rows = []
        for frame, shot_frame in reversed(self._past):
            fit = self._fit(shot_frame.image, window)
            jump = _jump(points, fit.points)
            if fit.presence < self._options.start_presence or jump > 0.5:
                break
            box = _box(fit.points)
            taken = (each.box_at(frame) for each in others)
            if any(other is not None and overlap(box, other) > _ALIKE for other in taken):
                break
            seen = face_patch(shot_frame.image, fit.points, np.array(box, np.float32))
            rows.append((frame, fit.points, self._confidence(face, fit), seen))
            window, points = fit.window, fit.points
        for frame, points, confidence, seen in reversed(rows):
            face.tracklet.add(frame, *encode_landmarks(points), confidence, seen)

    # Following

    def _fit(self, image: NDArray[np.uint8], window: Window) -> _Fit:
        """Run the mesh from the last window, moving it first if the face has moved on."""
        twins = self._options.windows > 1
        points, presence, tremble = np.zeros((0, 3), np.float32), 0.0, 0.0
        for _ in range(3):
            found = self._mesh.landmarks(image, _twins(window) if twins else [window])
            points = np.mean([each[0] for each in found], axis=0)
            presence = min(each[1] for each in found)
            tremble = float(np.abs(found[0][0] - points)[:, :2].mean()) / (_height(points) + 1e-6)
            wanted = Window.around(points)
            if presence < self._options.keep_presence or _move(window, wanted) < _LARGE_SHIFT:
                break
            window = wanted
        wanted = Window.around(points)
        share = _GENTLE + (1 - _GENTLE) * _move(window, wanted) / _STEADY_SHIFT
        return _Fit(_between(window, wanted, min(1.0, share)), points, presence, tremble)

    def _follow(self, face: _Face, shot_frame: ShotFrame) -> None:
        fit = self._fit(shot_frame.image, _moved(face.window, face.motion))
        doubtful = face.strikes > 1 and (fit.presence < _SURE_PRESENCE or fit.tremble > _TREMBLE)
        if self._is_good(face, fit) and not doubtful:
            self._accept(face, fit, shot_frame)
            self._check(face, shot_frame)
            return
        for detection in self._detector.look(shot_frame.image, face.window):
            again = self._settle(shot_frame.image, detection.window())
            if again is not None and self._is_good(face, again):
                face.strikes = 0
                face.detected = detection.score
                face.checked = shot_frame.time
                self._accept(face, again, shot_frame)
                return
        face.lost = True
        face.motion = (0.0, 0.0)

    def _accept(self, face: _Face, fit: _Fit, shot_frame: ShotFrame) -> None:
        face.confidence = self._confidence(face, fit)
        shift = fit.points[:, :2].mean(0) - face.points[:, :2].mean(0)
        # Slow faces are not led: the window's own inertia keeps the landmarks calm.
        quick = float(np.hypot(*shift)) > _STEADY_SHIFT * fit.window.side and not face.lost
        face.motion = (float(shift[0]), float(shift[1])) if quick else (0.0, 0.0)
        face.window, face.points = fit.window, fit.points
        face.lost = False

    def _is_good(self, face: _Face, fit: _Fit) -> bool:
        if fit.presence < self._options.keep_presence or not self._is_plausible(fit.points):
            return False
        ratio = _height(fit.points) / (_height(face.points) + 1e-6)
        return 0.6 < ratio < 1.7 and _jump(face.points, fit.points, face.motion) < 1.0

    def _check(self, face: _Face, shot_frame: ShotFrame) -> None:
        """Ask the detector now and then whether the mesh still sits on a face."""
        if shot_frame.time - face.checked < 2 * self._options.search_seconds:
            return
        face.checked = shot_frame.time
        box = _box(face.points)
        scores = [
            detection.score
            for detection in self._detector.look(shot_frame.image, face.window)
            if overlap(detection.box, box) > 0.5
        ]
        score = max(scores, default=0.0)
        face.detected = 0.5 * face.detected + 0.5 * score
        face.strikes = 0 if scores else face.strikes + 1

    def _separate(self) -> None:
        """When two faces have come to lie on one, let the less trusted or younger one go."""
        here = [face for face in self._faces if not face.lost]
        for index, one in enumerate(here):
            for other in here[index + 1 :]:
                if one.lost or other.lost:
                    continue
                if overlap(_box(one.points), _box(other.points)) > _ALIKE:
                    loser = min(one, other, key=lambda face: (face.confidence, face.tracklet.count))
                    loser.lost = True

    def _record(self, face: _Face, shot_frame: ShotFrame) -> None:
        face.seen = shot_frame.time
        box, codes = encode_landmarks(face.points)
        seen = face_patch(shot_frame.image, face.points, box)
        face.tracklet.add(self._frame, box, codes, face.confidence, seen)
        if shot_frame.time - face.looked >= _SEE_EVERY:
            face.looked = shot_frame.time
            face.tracklet.identity.see(shot_frame.image, face.points, face.confidence)

    def _close(self, face: _Face) -> None:
        if not face.tracklet.closed:
            face.tracklet.closed = True
            self._done.append(face.tracklet)

    def _is_plausible(self, points: NDArray[np.float32]) -> bool:
        """Whether a mesh has a face's proportions and lies mostly inside of the image."""
        width, height = np.ptp(points[:, 0]), np.ptp(points[:, 1])
        return bool(
            height >= _LEAST_HEIGHT * self._options.smallest_face
            and 0.3 < width / (height + 1e-6) < 2.2
            and self._share_inside(points) > 0.35
        )

    def _share_inside(self, points: NDArray[np.float32]) -> float:
        inside = (points[:, :2] >= 0).all(1) & (points[:, :2] <= self._size).all(1)
        return float(inside.mean())

    def _confidence(self, face: _Face, fit: _Fit) -> float:
        """Trust in [0, 1]: presence, detector, agreement of both windows, steadiness, in image."""
        presence = np.clip((fit.presence - 0.3) / 0.6, 0.05, 1)
        detector = 0.7 + 0.3 * min(1.0, face.detected / 0.6)
        agreement = math.exp(-((max(0.0, fit.tremble - 0.02) / 0.03) ** 2))
        growth = abs(math.log(_height(fit.points) / (_height(face.points) + 1e-6) + 1e-6))
        jump = max(0.0, _jump(face.points, fit.points, face.motion) - 0.25) + max(0.0, growth - 0.1)
        steadiness = math.exp(-((jump / 0.4) ** 2))
        inside = self._share_inside(fit.points)
        return float(np.clip(presence * detector * agreement * steadiness * inside, 0.01, 1))


def _box(points: NDArray[np.float32]) -> tuple[float, float, float, float]:
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _height(points: NDArray[np.float32]) -> float:
    return float(np.ptp(points[:, 1]))


def _jump(
    before: NDArray[np.float32], after: NDArray[np.float32], motion: tuple[float, float] = (0, 0)
) -> float:
    """Distance of a mesh from where another led by `motion` would be, relative to its height."""
    shift = after[:, :2].mean(0) - before[:, :2].mean(0) - motion
    return float(np.hypot(*shift)) / (_height(before) + 1e-6)


def _moved(window: Window, motion: tuple[float, float]) -> Window:
    x, y = window.centre
    return Window((x + motion[0], y + motion[1]), window.side, window.angle)


def _move(one: Window, other: Window) -> float:
    """How far apart two windows are, relative to their side (angles in radians, halved)."""
    shift = math.dist(one.centre, other.centre) / one.side
    growth = abs(math.log(max(other.side, 1e-6) / one.side))
    turn = abs(_turn(one.angle, other.angle))
    return max(shift, growth, turn / 2)


def _turn(one: float, other: float) -> float:
    return (other - one + math.pi) % (2 * math.pi) - math.pi


def _twins(window: Window) -> list[Window]:
    """Two windows of which the given one is the middle."""
    (x, y), side = window.centre, window.side
    shift, growth = _TWIN_SHIFT * side, 1 + _TWIN_SHIFT
    return [
        Window((x - shift, y - shift), side * growth, window.angle),
        Window((x + shift, y + shift), side / growth, window.angle),
    ]


def _between(one: Window, other: Window, share: float) -> Window:
    """The window `share` of the way from one to the other."""
    (x0, y0), (x1, y1) = one.centre, other.centre
    return Window(
        centre=(x0 + share * (x1 - x0), y0 + share * (y1 - y0)),
        side=one.side * (other.side / one.side) ** share,
        angle=one.angle + share * _turn(one.angle, other.angle),
    )
