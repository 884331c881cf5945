"""CropPictures: what is written about a few frames of an actor's video, made when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ned.core.face import similarity
from ned.core.face.face_model import Pictures
from preprocessing.actor_video import ActorVideo

if TYPE_CHECKING:
    from preprocessing.crop_landmarks import Landmarking, Marks
    from preprocessing.crop_masks import Masking

Draw = Callable[[NDArray[np.float64], NDArray[np.float64] | None], tuple[Pictures, Pictures]]

# Kinds of files that cannot be made without the footage itself.
OF_PIXELS = {"images", "full_frames", "faces", "faces_aligned"}


@dataclass(eq=False)
class CropPictures:
    """Some rows of a reel, in order; every attribute below has one item per row.

    Attributes:
        reel: whose. rows: (n,) which. mouth: whether eye landmarks go on with the mouth.
        crops: (256, 256, 3) RGB each; None where nobody needs pixels.
        landmarking: finds landmarks. masking: makes masks.
        draw: NMFCs and shapes of the reconstructed face, given (n, 2, 3) maps crop_from_frame and,
            for aligned ones, aligned_from_crop; None where nobody needs them.
        previous_mask: of the row before, for rows in which no face is found.
    """

    reel: ActorVideo
    rows: NDArray[np.int64]
    mouth: bool
    crops: Sequence[NDArray[np.uint8]] | None
    landmarking: Landmarking
    masking: Masking
    draw: Draw | None
    previous_mask: NDArray[np.bool_] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def contents(self, kind: str) -> Iterable[NDArray[Any]]:
        """What the files of one of actor.KINDS hold, one per row."""
        return getattr(self, kind)

    @cached_property
    def mesh(self) -> NDArray[np.float64]:
        """(478, 2) mesh points in crop pixels."""
        return self.reel.mesh(self.rows)

    @cached_property
    def marks(self) -> Marks:
        """68 landmarks and pupils in crop pixels."""
        return self.landmarking(self.mesh, self.crops)

    @property
    def landmarks(self) -> NDArray[np.float64]:
        """(68, 2) landmarks in crop pixels."""
        return self.marks.face

    @cached_property
    def align_transforms(self) -> NDArray[np.float64]:
        """(2, 3) aligned_from_crop."""
        from preprocessing.align import align_transforms

        return align_transforms(self.marks.steady)

    @cached_property
    def eye_landmarks(self) -> NDArray[np.float64]:
        """(14, 2), or (34, 2) with the mouth, in crop pixels."""
        from preprocessing.eye_landmarks import eye_rows

        return eye_rows(self.landmarks, self.marks.pupils, self.mouth)

    @cached_property
    def eye_landmarks_aligned(self) -> NDArray[np.float64]:
        """The same in aligned pixels."""
        return similarity.apply(self.align_transforms, self.eye_landmarks)

    @property
    def images(self) -> Sequence[NDArray[np.uint8]]:
        """(256, 256, 3) RGB crops."""
        if self.crops is None:
            raise ValueError("these rows were read without their pixels")
        return self.crops

    @cached_property
    def _masks(self) -> list[NDArray[np.bool_]]:
        from preprocessing.segmentation import hold_masks

        masks = self.masking(self.mesh, self.crops)
        if self.previous_mask is None:
            return list(hold_masks(masks))
        return list(hold_masks([self.previous_mask, *masks]))[1:]

    @cached_property
    def masks(self) -> list[NDArray[np.uint8]]:
        """(256, 256) 0 and 255."""
        return [_picture_of_mask(mask) for mask in self._masks]

    @cached_property
    def faces(self) -> list[NDArray[np.uint8]]:
        """(256, 256, 3) RGB crops, black outside the mask."""
        pairs = zip(self.images, self._masks, strict=True)
        return [image * mask[..., None] for image, mask in pairs]

    @cached_property
    def _masks_aligned(self) -> list[NDArray[np.bool_]]:
        from preprocessing.align import warp_mask

        pairs = zip(self._masks, self.align_transforms, strict=True)
        return [warp_mask(mask, transform) for mask, transform in pairs]

    @cached_property
    def masks_aligned(self) -> list[NDArray[np.uint8]]:
        """(256, 256, 3), three equal channels as NED writes them."""
        return [np.repeat(_picture_of_mask(m)[..., None], 3, 2) for m in self._masks_aligned]

    @cached_property
    def faces_aligned(self) -> list[NDArray[np.uint8]]:
        """(256, 256, 3) aligned faces, black outside the aligned mask."""
        warped = self._aligned(self.faces)
        pairs = zip(warped, self._masks_aligned, strict=True)
        return [face * mask[..., None] for face, mask in pairs]

    @cached_property
    def nmfcs(self) -> Pictures:
        """(256, 256, 3) pictures of where on the head each pixel lies."""
        return self._drawn[0]

    @cached_property
    def shapes(self) -> Pictures:
        """(256, 256, 3) pictures of the head's shape in white light."""
        return self._drawn[1]

    @cached_property
    def nmfcs_aligned(self) -> Pictures:
        """The same in aligned pixels."""
        return self._drawn_aligned[0]

    @cached_property
    def shapes_aligned(self) -> Pictures:
        """The same in aligned pixels."""
        return self._drawn_aligned[1]

    @cached_property
    def _drawn(self) -> tuple[Pictures, Pictures]:
        return self._draw(None)

    @cached_property
    def _drawn_aligned(self) -> tuple[Pictures, Pictures]:
        return self._draw(self.align_transforms)

    def _draw(self, aligned_from_crop: NDArray[np.float64] | None) -> tuple[Pictures, Pictures]:
        if self.draw is None:
            raise ValueError("these rows were read without their 3D face")
        held = self.reel.seen[self.rows]
        return self.draw(self.reel.crop_from_frame[held], aligned_from_crop)

    @property
    def last_mask(self) -> NDArray[np.bool_] | None:
        """The last row's mask, for the chunk that follows; None if nobody asked for masks."""
        return self.__dict__["_masks"][-1] if "_masks" in self.__dict__ else None

    def _aligned(self, pictures: Pictures) -> list[NDArray[np.uint8]]:
        from preprocessing.align import warp_image

        pairs = zip(pictures, self.align_transforms, strict=True)
        return [warp_image(picture, transform) for picture, transform in pairs]


def _picture_of_mask(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(mask, np.uint8(255), np.uint8(0))
