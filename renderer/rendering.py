"""Rendering: the frames of a clip with its directed performance, by one of the renderers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deca.rig import Rig, load_rig
from ned.core.errors import InputError, quoted
from ned.core.face.performance import Performance
from ned.core.face.track import steady_landmarks
from ned.core.files.checkpoint import require_torch
from ned.core.film.clip import Clip, Frame
from ned.core.threads import single_threaded_opencv
from renderer.strength import edit_strength, is_edited
from renderer.warp.renderer import FaceEdit, WarpRenderer
from renderer.warp.shading import Shading

_CHUNK = 64  # frames whose landmarks are in memory at once
_AHEAD = 4  # frames being rendered while one is encoded

Draw = Callable[[Frame, FaceEdit], Frame]


@dataclass(frozen=True)
class Renderer:
    """How edits become pictures.

    Attributes:
        begin: of a clip, its directed performance, the (T,) strength and the rig: what draws an
            edit into its frame; called in order for every frame that has an edit.
        threads: frames drawn at once; 1 where a frame is drawn from the frame before.
        shades: whether edits need the light and shade of new folds.
    """

    begin: Callable[[Clip, Performance, NDArray[np.float32], Rig], Draw]
    threads: int = 2
    shades: bool = True


def open_renderer(name: str, actor_model: Path | None = None) -> Renderer:
    """A renderer by its name, with its networks loaded.

    Args:
        actor_model: folder of the actor's networks, for renderers that were trained on one.

    Raises:
        InputError: There is no such renderer, the folder is missing or not for it, or it holds
            something else than that renderer's networks.
        AssetError: The networks are of another layout.
    """
    if name not in RENDERERS:
        raise InputError(f"--renderer is {name!r}, give one of {', '.join(RENDERERS)}")
    kind = RENDERERS[name]
    if kind.trained and actor_model is None:
        raise InputError(
            f"--renderer {name} needs the folder of a network that was trained on the actor "
            "(--actor-model DIR; <checkpoints_dir> of postprocess)"
        )
    if actor_model is None:
        return kind.open(None)
    if not kind.trained:
        raise InputError(f"--renderer {name} needs no trained network; leave {actor_model} out")
    if not actor_model.is_dir():
        raise InputError(
            f"--actor-model {quoted(actor_model)} is not a folder; give that of the actor's "
            f"trained {name} renderer"
        )
    return kind.open(actor_model)


def rendered(
    clip: Clip,
    performance: Performance,
    strength: NDArray[np.float32],
    rig: Rig,
    shading: float = 1.0,
    renderer: Renderer | None = None,
) -> Iterator[tuple[Frame, Frame]]:
    """Pairs of source and directed frame, in order; a few are rendered ahead in threads.

    A frame whose edit has no strength or no change comes back as it was decoded.

    Args:
        shading: strength of the light and shade of new folds. renderer: the warp if None.
    """
    renderer = renderer or open_renderer("warp")
    folds = Shading(rig) if renderer.shades and shading > 0 else None
    draw = renderer.begin(clip, performance, strength, rig)

    def render(frame: Frame, edits: _Edits) -> Frame:
        edit = edits.at(frame.index, folds, shading)
        return frame if edit is None else draw(frame, edit)

    def jobs(pool: ThreadPoolExecutor) -> Iterator[tuple[Frame, Future[Frame]]]:
        edits = _Edits.of(performance, strength, rig, 0)
        for frame in clip.frames():
            if frame.index >= len(performance):
                yield frame, pool.submit(lambda frame: frame, frame)
                continue
            if frame.index % _CHUNK == 0:
                edits = _Edits.of(performance, strength, rig, frame.index)
            yield frame, pool.submit(render, frame, edits)

    with single_threaded_opencv(), ThreadPoolExecutor(renderer.threads) as pool:
        queue = jobs(pool)
        waiting = list(islice(queue, _AHEAD))
        try:
            while waiting:
                frame, future = waiting.pop(0)
                yield frame, future.result()
                waiting.extend(islice(queue, 1))
        finally:
            for _, future in waiting:
                future.cancel()


def edit_at(
    clip: Clip,
    performance: Performance,
    index: int,
    rig: Rig | None = None,
    shading: float = 1.0,
    renderer: Renderer | None = None,
) -> tuple[Frame, Frame]:
    """One frame of a clip as it was filmed and as it was directed, as `rendered` draws it.

    Args:
        performance: directed. shading, renderer: as for `rendered`.

    Raises:
        InputError: There is no such frame, or the renderer draws each frame from the one before.
    """
    rig, renderer = rig or load_rig(), renderer or open_renderer("warp")
    if renderer.threads == 1:
        raise InputError("this renderer draws frames one after the other; draw the whole clip")
    frame = clip.frame_at(index)
    if index >= len(performance) or performance.directed is None:
        return frame, frame
    strength = edit_strength(performance)
    folds = Shading(rig) if renderer.shades and shading > 0 else None
    edit = _Edits.of(performance, strength, rig, index, index + 1).at(index, folds, shading)
    if edit is None:
        return frame, frame
    return frame, renderer.begin(clip, performance, strength, rig)(frame, edit)


@dataclass(frozen=True)
class _Edits:
    """What happens to the face in a run of frames that begins with frame `start`.

    Attributes:
        landmarks: (n, 478, 3) pixels. change: (n, U) activations. moves: (n, 468, 2) pixels.
        rotation: (n, 3, 3) head-to-camera.
    """

    start: int
    landmarks: NDArray[np.float32]
    change: NDArray[np.float32]
    moves: NDArray[np.float32]
    rotation: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        performance: Performance,
        strength: NDArray[np.float32],
        rig: Rig,
        start: int,
        stop: int | None = None,
    ) -> _Edits:
        """The edits of frames [start, stop); of one chunk if None."""
        assert performance.directed is not None
        stop = start + _CHUNK if stop is None else stop
        run = slice(start, stop)
        change = (performance.directed[run] - performance.units[run]) * strength[run, None]
        rotation = performance.rotation[run]
        turned = rig.displacement(change) @ rotation.transpose(0, 2, 1)
        pixels = np.array([1, -1], np.float32) * performance.scale[run, None, None]
        landmarks = steady_landmarks(performance.track, start, stop)
        return cls(start, landmarks, change, turned[..., :2] * pixels, rotation)

    def at(self, index: int, folds: Shading | None, shading: float) -> FaceEdit | None:
        """The edit of one frame, or None if it stays as it was."""
        k = index - self.start
        if not is_edited(self.change[k]):
            return None
        shade = folds.texture(self.change[k] * np.float32(shading)) if folds else None
        return FaceEdit(self.landmarks[k], self.rotation[k], self.moves[k], shade)


def _warp(folder: Path | None) -> Renderer:
    renderer = WarpRenderer()

    def draw(frame: Frame, edit: FaceEdit) -> Frame:
        clip = frame.clip
        return frame.with_planes(renderer.render(frame.planes, [edit], clip.black, clip.middle))

    return Renderer(lambda *_: draw)


def _hybrid(folder: Path | None) -> Renderer:
    require_torch("the hybrid renderer")
    from renderer.hybrid.renderer import HybridRenderer

    assert folder is not None
    return Renderer(HybridRenderer.load(folder).begin)


def _neural(folder: Path | None) -> Renderer:
    from renderer.neural.actor_network import ActorNetwork

    assert folder is not None
    return Renderer(ActorNetwork.load(folder).begin, threads=1, shades=False)


@dataclass(frozen=True)
class RendererKind:
    """A row of the table: what opens a renderer, and whether it was trained on one actor."""

    open: Callable[[Path | None], Renderer]
    trained: bool


RENDERERS = {
    "warp": RendererKind(_warp, trained=False),
    "hybrid": RendererKind(_hybrid, trained=True),
    "neural": RendererKind(_neural, trained=True),
}
