"""Segmentation: which pixels of a crop are the face, from the mesh or by FSGAN's network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ned.core.errors import InputError
from ned.core.face.mesh import FACE_OVAL, load_mesh
from preprocessing.boxes import CROP_PIXELS
from preprocessing.erosion import largest_piece, soft_erosion

if TYPE_CHECKING:
    import torch


FACE_CLASS = 1  # of background, face, hair
_EROSION, _THRESHOLD = 21, 0.6  # NED's, for crops of 256 pixels
_FOREHEAD = 0.12
_LEVEL = 168  # mesh point between the eyes
_EYES = (33, 263)  # outer corners
_SUBPIXEL = 4  # bits


def mesh_mask(
    mesh: NDArray[Any], size: tuple[int, int] = (CROP_PIXELS, CROP_PIXELS)
) -> NDArray[np.bool_]:
    """The face as the mesh shows it: its outline and all of its triangles.

    The mesh ends below the hairline. Points of the outline above the eyes are moved up, along the
    face's own axis, by 12 % of their height above the eyes: nearer to the hair, not into a fringe.
    The triangles add what a turned head shows beyond the outline: the nose, the near cheek.

    Args:
        mesh: (468 or 478, 2 or more) points in pixels of the crop, centres at whole numbers.
        size: (width, height) of the mask.

    Returns:
        (height, width); empty where the mesh is NaN.
    """
    points = np.asarray(mesh, np.float64)[:468, :2]
    mask = np.zeros((size[1], size[0]), np.uint8)
    if not np.isfinite(points).all():
        return mask > 0
    across = points[_EYES[1]] - points[_EYES[0]]
    up = np.array([across[1], -across[0]]) / max(float(np.hypot(*across)), 1e-6)
    outline = points[list(FACE_OVAL)]
    height = (outline - points[_LEVEL]) @ up
    outline = outline + _FOREHEAD * np.maximum(height, 0)[:, None] * up
    limit = 1 << 14  # of OpenCV's fixed-point coordinates, far outside of any crop
    fixed = np.rint(np.clip(outline, -limit, limit) * (1 << _SUBPIXEL)).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 1, shift=_SUBPIXEL)
    fixed = np.rint(np.clip(points, -limit, limit) * (1 << _SUBPIXEL)).astype(np.int32)
    for triangle in fixed[load_mesh().triangles]:
        cv2.fillConvexPoly(mask, triangle, 1, shift=_SUBPIXEL)
    return mask > 0


def face_mask(classes: NDArray[Any]) -> NDArray[np.bool_]:
    """NED's mask from classes (H, W): the face class, eroded, its largest piece."""
    _, hard = soft_erosion(classes == FACE_CLASS, _EROSION, _THRESHOLD)
    return largest_piece(hard)


def hold_masks(masks: Iterable[NDArray[np.bool_]]) -> Iterator[NDArray[np.bool_]]:
    """Masks in which an empty one repeats the one before it; empty ones at the start stay."""
    previous: NDArray[np.bool_] | None = None
    for mask in masks:
        if previous is None or mask.any():
            previous = mask
        yield previous


class FaceSegmenter:
    """FSGAN's network with the weights that NED used; makes masks of whole batches of crops."""

    def __init__(
        self,
        weights: Path | None = None,
        device: torch.device | str = "cpu",
        statistics: Literal["image", "running"] = "image",
    ) -> None:
        """Load the network.

        Args:
            weights: the file; the asset `fsgan-segmentation` if None.
            device: a torch device.
            statistics: "image" normalises every crop by itself, as NED did; "running" by what the
                training kept.

        Raises:
            AssetError: The weights are missing or do not fit.
            InputError: The file cannot be read, or torch is not installed.
        """
        from ned.core.files.assets import require_asset
        from ned.core.files.checkpoint import load_strict, load_weights, require_torch

        require_torch("segmentation by FSGAN's network")
        from preprocessing.segmentation_network import SegmentationNetwork

        path = require_asset("fsgan-segmentation") if weights is None else weights
        state = load_weights(path)
        self._network = SegmentationNetwork(statistics)
        load_strict(self._network, state.get("state_dict", state), path)
        self._network.to(device).eval().requires_grad_(False)
        self._device = device

    def classes(self, crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Classes (B, H, W) of RGB crops (B, H, W, 3): 0 background, 1 face, 2 hair.

        In float32: bfloat16 would be twice as fast on a CPU, but changes one pixel in a hundred.

        Raises:
            InputError: The crops have another shape.
        """
        import torch

        if crops.ndim != 4 or crops.shape[3] != 3 or crops.shape[1] % 16 or crops.shape[2] % 16:
            raise InputError(
                f"crops of shape {crops.shape} were given; (count, height, width, 3) with sides "
                "that are multiples of 16 are needed"
            )
        images = torch.from_numpy(np.ascontiguousarray(crops)).to(self._device)
        images = images.permute(0, 3, 1, 2).to(torch.float32) / 255
        with torch.inference_mode():
            return self._network(images).argmax(1).to(torch.uint8).cpu().numpy()

    def masks(self, crops: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Masks (B, H, W) of RGB crops (B, H, W, 3), as in NED; see `face_mask`."""
        return np.stack([face_mask(classes) for classes in self.classes(crops)])
