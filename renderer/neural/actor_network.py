"""Neural rendering: directed faces drawn by an actor's network, straight into a clip's frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deca.rig import Rig
from deca.rig_pictures import RigConditioner, aligned_maps
from ned.core.errors import InputError, quoted
from ned.core.face import similarity
from ned.core.face.performance import Performance
from ned.core.files.checkpoint import require_torch
from ned.core.film.clip import Clip, Frame
from preprocessing.align import align_transforms, warp_mask
from preprocessing.boxes import CROP_PIXELS, crop_boxes, crop_from_frame
from preprocessing.eye_landmarks import landmarks_of_mesh
from preprocessing.segmentation import mesh_mask
from renderer.face_blend import blend_into_planes
from renderer.neural.dataset import conditioning
from renderer.strength import fade, is_edited

if TYPE_CHECKING:
    from renderer.neural.inference import NeuralRenderer

_CHUNK = 16  # frames whose pictures are in memory at once
_FADE = 0.12  # seconds in which a drawn face appears where an edit begins within a shot
_CENTRES = np.array([[1, 0, 0.5], [0, 1, 0.5]])  # of pixels, from whole numbers to a track's


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """What a network is shown of one frame, and where that lies.

    Attributes:
        conditioning: (10, size, size) uint8. mask: (256, 256) of the aligned crop.
        frame_from_aligned: (2, 3), centres at whole numbers in both.
    """

    conditioning: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    frame_from_aligned: NDArray[np.float64]


class AlignedFaces:
    """The aligned faces of a performance, as `ned preprocess` makes them of the rig's face.

    The mask holds the face as it was filmed and as it shall be, so that a chin that sinks finds
    room, and one that rises leaves none of the old one.
    """

    def __init__(self, performance: Performance, rig: Rig, size: int) -> None:
        self.performance, self.size = performance, size
        self._conditioner = RigConditioner(performance, rig, CROP_PIXELS)
        self._boxes = crop_boxes(performance.track)

    def run(
        self, start: int, stop: int, units: NDArray[np.floating] | None = None
    ) -> Iterator[AlignedFace]:
        """Faces of frames [start, stop), all of which have one.

        Args:
            units: (T, U) that the faces shall show; those of the source if None.
        """
        for first in range(start, stop, _CHUNK):
            last = min(first + _CHUNK, stop)
            yield from self._chunk(first, last, None if units is None else units[first:last])

    def _chunk(
        self, start: int, stop: int, units: NDArray[np.floating] | None
    ) -> Iterator[AlignedFace]:
        crops = crop_from_frame(self._boxes[start:stop])
        mesh = self.performance.track.landmarks(start, stop)[..., :2]
        mesh = similarity.apply(crops, mesh)
        aligned_from_crop = align_transforms(landmarks_of_mesh(mesh))
        maps = aligned_maps(crops, aligned_from_crop)
        pictures, eyes = self._conditioner.draw_aligned(
            start, stop, crops, aligned_from_crop, units
        )
        frames_from_aligned = similarity.invert(similarity.compose(maps, _CENTRES))
        for k in range(stop - start):
            mask = warp_mask(mesh_mask(mesh[k]), aligned_from_crop[k])
            if units is not None:
                mask |= pictures.mask[k] > 0
            shown = conditioning(pictures.nmfc[k], pictures.shape[k], eyes[k], mask, self.size)
            yield AlignedFace(shown, mask, frames_from_aligned[k])


class ActorNetwork:
    """An actor's neural renderer, trained on the rig's face.

    Attributes:
        network: draws faces. size: side of its pictures in pixels.
    """

    def __init__(self, network: NeuralRenderer, size: int = CROP_PIXELS) -> None:
        self.network, self.size = network, size

    @classmethod
    def load(cls, folder: Path) -> ActorNetwork:
        """The network in a folder of `ned train-renderer`.

        Raises:
            InputError: There is none, or it has learnt another face than the rig's.
            AssetError: It is of another layout.
        """
        require_torch("the neural renderer")
        from renderer.neural.checkpoints import find_generator, picture_size, read_record
        from renderer.neural.inference import NeuralRenderer

        path = find_generator(folder)
        record = read_record(folder)
        model = record.get("face_model")
        if model != "rig":
            learnt = f"was trained with the {model} face" if model else "does not tell its face"
            raise InputError(
                f"the renderer in {quoted(folder)} {learnt}; `ned direct` needs one of the rig's: "
                "./preprocess.sh with its default --reconstructor, then `ned train-renderer`"
            )
        return cls(NeuralRenderer.load(path), picture_size(folder))

    def begin(
        self, clip: Clip, performance: Performance, strength: NDArray[np.float32], rig: Rig
    ) -> Callable[[Frame, object], Frame]:
        """What draws the edited frames of a clip, one after the other.

        Every run of edited frames within a shot is drawn from its first frame on. It fades in and
        out over the source, because what a network draws is never quite the same face.
        """
        assert performance.directed is not None
        change = (performance.directed - performance.units) * strength[:, None]
        edited = is_edited(change)
        opacity = np.minimum(strength, fade(edited.astype(np.float32), performance.track, _FADE))
        faces = self.draw(AlignedFaces(performance, rig, self.size), edited, change)
        drawn_from_mask = _enlarged(self.size / CROP_PIXELS)

        def draw(frame: Frame, edit: object) -> Frame:
            index, drawn, face = next(faces)
            if index != frame.index:
                raise RuntimeError(f"frame {frame.index} was asked for, {index} comes next")
            place = face.frame_from_aligned, drawn_from_mask
            return blend_into_planes(frame, drawn, face.mask, *place, float(opacity[index]))

        return draw

    def draw(
        self, faces: AlignedFaces, wanted: NDArray[np.bool_], change: NDArray[np.floating]
    ) -> Iterator[tuple[int, NDArray[np.uint8], AlignedFace]]:
        """Frame, its drawn face (size, size, 3) and what it was drawn from, for wanted frames.

        Args:
            wanted: (T,). change: (T, U) activations on top of those of the source.
        """
        units = faces.performance.units + change
        for start, stop in _runs(wanted, faces.performance.track.shots):
            seen: list[AlignedFace] = []

            def shown(start: int = start, stop: int = stop, seen: list = seen) -> Iterator:
                for face in faces.run(start, stop, units):
                    seen.append(face)
                    yield face.conditioning

            for index, drawn in enumerate(self.network.render(shown()), start):
                yield index, drawn, seen.pop(0)


def _runs(wanted: NDArray[np.bool_], shots: NDArray[np.integer]) -> list[tuple[int, int]]:
    """First frame and the one after the last, of wanted frames that follow each other."""
    frames = np.flatnonzero(wanted)
    cuts = np.flatnonzero((np.diff(frames) > 1) | (np.diff(shots[frames]) != 0)) + 1
    return [(int(run[0]), int(run[-1]) + 1) for run in np.split(frames, cuts) if len(run)]


def _enlarged(scale: float) -> NDArray[np.float64]:
    """(2, 3) map of pixels, centres at whole numbers, to a picture enlarged so."""
    return np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2]])
