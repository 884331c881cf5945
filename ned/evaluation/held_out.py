"""Reenactment: an actor's held-out frames made again by renderers, compared in one kind of crop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from deca.rig import load_rig
from ned.core.errors import InputError, quoted
from ned.core.face import similarity
from ned.core.face.performance import Performance
from ned.core.files.actor import Actor
from ned.core.files.frame_files import read_numbers
from ned.core.film.clip import Clip
from ned.core.film.image_files import read_image, read_mask
from ned.evaluation.reconstruction_error import ReconstructionError
from renderer.experiment_conditioning import face_model_of, read_boxes, video_starts
from renderer.hybrid.face_crops import FaceCrops, placed
from renderer.hybrid.footage import Footage

if TYPE_CHECKING:
    from renderer.hybrid.renderer import HybridRenderer

SIZE = 256  # usual side of a crop in pixels
_MOUTH = (61, 291, 0, 17)  # corners and middles of the outer lips


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Frames of an actor that no renderer has learnt from.

    Attributes:
        footage: n of them, cut out. number: (n,) of the frames among the actor's.
        crop_from_aligned: (n, 2, 3) centres at whole numbers; from the actor's aligned pictures.
        mask: (n, S, S) the face, where every renderer can be compared.
    """

    footage: Footage
    number: NDArray[np.int64]
    crop_from_aligned: NDArray[np.float64]
    mask: NDArray[np.bool_]

    @classmethod
    def open(cls, actor: Actor, share: float | None, size: int = SIZE) -> HeldOut:
        """The last share of an actor's frames, or all of them if None.

        Frames without a face, or with one turned far away, are left out.

        Args:
            actor: preprocessed in test mode, with the rig. size: side of the crops in pixels.

        Raises:
            InputError: It is not, or there are fewer than two such frames.
        """
        if face_model_of(actor) != "rig":
            raise InputError(
                f"{quoted(actor.folder)} is not preprocessed with the rig; run ./preprocess.sh "
                f"{actor.folder} test"
            )
        firsts, takes, maps = [], [], []
        for video in actor.videos:
            performance = Performance.load(actor.performance_file(video))
            takes.append((performance, _pictures(Clip.open(video))))
            firsts.append(video_starts(actor)[video.stem][0])
            crops = FaceCrops.of(performance, size).crop_from_image
            maps.append((placed(crops), read_boxes(actor.boxes_file(video))))
        footage = Footage.of(takes, load_rig(), size)
        number = np.array(firsts)[footage.take] + footage.frame
        count = sum(len(boxes) for _, boxes in maps)
        if share is not None:
            # of all frames, and of those of each take: what either kind of training leaves out
            late = set(_keys(footage.divided(share)[1]))
            rows = [k for k, key in enumerate(_keys(footage)) if key in late]
            rows = [k for k in rows if number[k] >= count - int(share * count)]
            footage, number = footage[np.array(rows, int)], number[rows]
        if len(footage) < 2:
            raise InputError(
                f"{quoted(actor.folder)} has {len(footage)} held-out frames that show a face; two "
                "or more are needed"
            )
        crop_from_aligned = np.stack(
            [
                _crop_from_aligned(actor, int(frame), row, *maps[take])
                for frame, row, take in zip(number, footage.frame, footage.take, strict=True)
            ]
        )
        mask = footage.conditioning[..., 4] > 0
        for k, frame in enumerate(number):
            own = read_mask(actor.frame_file("masks_aligned", int(frame))).astype(np.float32)
            mask[k] &= cv2.warpAffine(own, crop_from_aligned[k], (size, size)) > 0.999
        return cls(footage, number, crop_from_aligned, mask)

    def moved(self, renderer: HybridRenderer | None = None, seed: int = 0) -> dict[str, float]:
        """How near frames come whose pixels are those of others: by the warp, and by the hybrid.

        Each is made of one at least 0.4 s away, drawn at random; as `ReconstructionError.scores`.
        Flicker is measured apart, on all frames made of one and the same: with a new source for
        each frame it would tell of the sources.
        """
        from renderer.hybrid.reenactment import reenact, sources

        memory = renderer.memory if renderer is not None else None
        rows = np.arange(len(self.footage))
        measured = []
        for given in (sources(self.footage, rows, seed), np.full(len(rows), len(rows) // 2)):
            error = ReconstructionError()
            for one in reenact(self.footage, rows, given, memory, renderer):
                self._add(error, one.target, one.drawn)
            measured.append(error.scores())
        mixed, still = measured
        return {**mixed, "flicker": still["flicker"]}

    def drawn(self, actor: Actor) -> dict[str, float]:
        """How near the faces_aligned come that a network drew from nothing but parameters."""
        error = ReconstructionError()
        for row, frame in enumerate(self.number):
            face = read_image(actor.frame_file("faces_aligned", int(frame)))
            place, size = self.crop_from_aligned[row], self.mask.shape[1:]
            crop = cv2.warpAffine(face, place, size, flags=cv2.INTER_CUBIC)
            self._add(error, row, crop)  # type: ignore[arg-type]
        return error.scores()

    def _add(self, error: ReconstructionError, row: int, made: NDArray[np.uint8]) -> None:
        footage = self.footage
        mouth = footage.landmarks[row][list(_MOUTH), :2].mean(0).astype(np.int64)
        follows = bool(row and self.number[row] == self.number[row - 1] + 1)
        mask = self.mask[row]
        seen = mask[..., None]  # nothing else is compared: some pictures end there
        error.add(made * seen, footage.pictures[row] * seen, mask, mouth, follows)


def _pictures(clip: Clip) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    return ((frame.index, frame.rgb()) for frame in clip.frames())


def _keys(footage: Footage) -> list[tuple[int, int]]:
    return list(zip(footage.take.tolist(), footage.frame.tolist(), strict=True))


def _crop_from_aligned(
    actor: Actor, frame: int, row: int, crops: NDArray[np.float64], boxes: NDArray[np.int64]
) -> NDArray[np.float64]:
    from preprocessing.boxes import crop_from_frame

    aligned_from_crop = read_numbers(actor.frame_file("align_transforms", frame), 3, 2)
    aligned_from_image = similarity.compose(aligned_from_crop, crop_from_frame(boxes[row]))
    return similarity.compose(crops[row], similarity.invert(aligned_from_image))
