"""Hybrid renderer: the warp, corrected by a network that has learnt the actor's face.

The frame's own pixels are warped first. A small network sees the warped face, the geometry that is
wanted and how the actor has looked with such an expression, and adds what is missing. Only its
correction is taken into the full frame, where something moved: grain and detail stay the frame's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deca.rig import Rig
from deca.rig_pictures import RigConditioner
from ned.core.device import Precision, find_device, is_short_fast
from ned.core.errors import InputError, quoted
from ned.core.face.performance import Performance
from ned.core.film.clip import Clip, Frame
from ned.core.film.planes import Planes, samples_of_rgb
from preprocessing.identity import Identity, identity_in, unlikeness
from renderer.hybrid.face_crops import FaceCrops
from renderer.hybrid.footage import draw_conditioning, stacked
from renderer.hybrid.memory import ExpressionDescriptors, Memory, edited
from renderer.hybrid.network import HybridNetwork, load_network
from renderer.warp.renderer import FaceEdit, WarpRenderer

log = logging.getLogger(__name__)

NETWORK, MEMORY = "hybrid.safetensors", "memory.safetensors"

_ANOTHER = 2.2  # unlikeness of faces from which they are taken for two people's
_CHUNK = 16  # frames whose conditioning is drawn at once
_MOVED = (0.002, 0.03)  # of a crop's side: moves below the first change nothing, above all
_SPREAD = 0.02  # of the side, by which that is widened and softened


class HybridRenderer:
    """An actor's trained network with what it remembers.

    Attributes:
        network, memory: they. size: side of the crops in pixels. record: what training wrote.
    """

    def __init__(
        self,
        network: HybridNetwork,
        memory: Memory,
        device: torch.device | None = None,
        short: bool = False,
        record: dict[str, Any] | None = None,
    ) -> None:
        """Put a network to work; `short` computes in bfloat16."""
        self.device = device or torch.device("cpu")
        self.short = short
        self.network = network.eval().to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.memory = memory
        self.size = network.shape.size
        self.record = record or {}

    @classmethod
    def load(
        cls, folder: Path, device: str = "auto", precision: Precision = "auto"
    ) -> HybridRenderer:
        """The model in a folder of `ned train-hybrid`.

        Raises:
            InputError: It is missing, damaged, or of another kind; or the device is not there.
            AssetError: The network's weights do not fit.
        """
        path = folder / NETWORK
        if not path.is_file():
            raise InputError(
                f"{quoted(folder)} holds no {NETWORK}; give the folder of `ned train-hybrid`"
            )
        place = find_device(device)
        network, record = load_network(path)
        memory = Memory.load(folder / MEMORY)
        if memory.pictures.shape[1] != network.shape.size:
            raise InputError(
                f"{quoted(folder / MEMORY)} has pictures of {memory.pictures.shape[1]} pixels, "
                f"{NETWORK} needs {network.shape.size}; they belong to different models"
            )
        short = precision == "bfloat16" or (precision == "auto" and is_short_fast(place))
        return cls(network, memory, place, short, record)

    @torch.inference_mode()
    def draw_faces(self, seen: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(B, S, S, 3) faces for (B, S, S, 13), see `stacked`; all uint8."""
        pictures = self._run(seen).clamp(-1, 1)
        return ((pictures + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()

    @torch.inference_mode()
    def corrections(self, seen: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, S, S, 3) what the network adds to warped faces, in levels of 255."""
        warped = torch.from_numpy(seen[..., :3]).permute(0, 3, 1, 2).to(self.device).float()
        added = (self._run(seen) + 1) * 127.5 - warped
        return added.permute(0, 2, 3, 1).contiguous().cpu().numpy()

    def _run(self, seen: NDArray[np.uint8]) -> torch.Tensor:
        given = torch.from_numpy(seen).to(self.device).permute(0, 3, 1, 2).float() / 255
        faces = given[:, :3] * 2 - 1, given[:, 3:8], given[:, 8:11] * 2 - 1, given[:, 11:]
        laid = torch.cat(faces, dim=1).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.short):
            return self.network(laid).float()

    def begin(
        self, clip: Clip, performance: Performance, strength: NDArray[np.float32], rig: Rig
    ) -> Callable[[Frame, FaceEdit], Frame]:
        """What draws edits into a clip's frames, in several threads if wanted.

        Args:
            performance: directed. strength: (T,) share of the edit that each frame gets.
        """
        self._compare(clip, performance)
        return _Drawing(self, clip, performance, strength, rig)

    def _compare(self, clip: Clip, performance: Performance) -> None:
        """Warn if the clip's face is unlike the one that was learnt."""
        try:
            learnt = Identity.of_numbers(self.record["identity"])
        except (KeyError, TypeError, ValueError):  # of an earlier version
            return
        apart = unlikeness([learnt, identity_in(clip, performance.track)])[0, 1]
        if apart > _ANOTHER:
            log.warning(
                "the face in %s is unlike the one that the hybrid renderer was trained on (%.1f; "
                "takes of one actor are below %.1f); give the model of this actor",
                quoted(clip.path),
                apart,
                _ANOTHER,
            )


class _Drawing:
    """One clip being drawn."""

    def __init__(
        self,
        renderer: HybridRenderer,
        clip: Clip,
        performance: Performance,
        strength: NDArray[np.float32],
        rig: Rig,
    ) -> None:
        assert performance.directed is not None
        self._renderer, self._clip = renderer, clip
        change = (performance.directed - performance.units) * strength[:, None]
        self._units = performance.units + change
        self._crops = FaceCrops.of(performance, renderer.size)
        self._conditioner = RigConditioner(performance, rig, renderer.size)
        descriptors = ExpressionDescriptors.of(
            self._units, performance.gaze, performance.rotation, rig
        )
        self._recalled = renderer.memory.recall(descriptors)
        self._strength = strength
        self._warp = WarpRenderer()
        self._lock = threading.Lock()
        self._chunks: dict[int, NDArray[np.uint8]] = {}

    def __call__(self, frame: Frame, edit: FaceEdit) -> Frame:
        planes = self._warp.render(frame.planes, [edit], self._clip.black, self._clip.middle)
        correction = self._correction(frame, edit)
        return frame.with_planes(self._added(planes, correction, frame.index))

    def _correction(self, frame: Frame, edit: FaceEdit) -> NDArray[np.float32]:
        """(S, S, 3) levels of 255 that the network adds to a frame's crop, where it moved."""
        index, crops = frame.index, self._crops
        face = crops.landmarks[index]
        linear = crops.crop_from_image[index, :, :2].astype(np.float32)
        moved = FaceEdit(face, edit.rotation, edit.displacement @ linear.T)
        cut = crops.cut(frame.rgb(), index)
        warped = edited(cut, moved, self._warp)
        wanted = face.copy()
        weight = self._warp.facing(edit.rotation)[:, None]
        wanted[:468, :2] += moved.displacement * weight
        remembered = self._renderer.memory.picture(
            self._recalled[index], wanted, edit.rotation, self._warp
        )
        seen = stacked(warped, self._conditioning(index), remembered)
        added = self._renderer.corrections(seen[None])[0]
        gate = self._warp.moved(moved, cut.shape[:2])
        return added * (_gate(gate / len(cut)) * min(1.0, float(self._strength[index])))[..., None]

    def _conditioning(self, index: int) -> NDArray[np.uint8]:
        start = index // _CHUNK * _CHUNK
        with self._lock:
            if start not in self._chunks:
                stop = min(start + _CHUNK, len(self._units))
                drawn = draw_conditioning(
                    self._conditioner, self._crops, start, stop, self._units[start:stop]
                )
                # threads are at most a few frames apart
                self._chunks = {k: v for k, v in self._chunks.items() if k == start - _CHUNK}
                self._chunks[start] = drawn
            return self._chunks[start][index - start]

    def _added(self, planes: Planes, correction: NDArray[np.float32], index: int) -> Planes:
        """Planes with a crop's correction brought back to their own resolution and range."""
        clip = self._clip
        codes = samples_of_rgb(correction, clip.matrix, clip.full_range, clip.bit_depth)
        codes -= samples_of_rgb(
            np.zeros((1, 1, 3), np.uint8), clip.matrix, clip.full_range, clip.bit_depth
        )
        image_from_crop = cv2.invertAffineTransform(self._crops.crop_from_image[index])
        side = self._renderer.size
        corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float64)
        reach = corners @ image_from_crop[:, :2].T + image_from_crop[:, 2]
        height, width = planes[0].shape
        edited_planes = []
        for channel, plane in enumerate(planes):
            scale = np.array([plane.shape[1] / width, plane.shape[0] / height])
            x0, y0 = np.maximum(np.floor(reach.min(0) * scale).astype(int), 0)
            x1, y1 = np.minimum(
                np.ceil(reach.max(0) * scale).astype(int), [plane.shape[1], plane.shape[0]]
            )
            if x1 <= x0 or y1 <= y0:
                edited_planes.append(plane)
                continue
            plane_from_crop = scale[:, None] * image_from_crop
            # between pixels whose centres lie at whole numbers
            plane_from_crop[:, 2] += plane_from_crop[:, :2].sum(1) / 2 - 0.5 - [x0, y0]
            added = cv2.warpAffine(
                codes[..., channel],
                plane_from_crop,
                (int(x1 - x0), int(y1 - y0)),
                flags=cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_CONSTANT,
            )
            edited_planes.append(_plus(plane, added, int(x0), int(y0), clip.bit_depth))
        return edited_planes[0], edited_planes[1], edited_planes[2]


def _plus(plane: NDArray, added: NDArray[np.floating], x: int, y: int, bit_depth: int) -> NDArray:
    """A plane with something added to a rectangle, from its corner on; where it is not nothing."""
    result = plane.copy()
    rows, columns = slice(y, y + added.shape[0]), slice(x, x + added.shape[1])
    top = (1 << bit_depth) - 1
    whole = np.clip(np.rint(plane[rows, columns] + added), 0, top)
    result[rows, columns] = whole.astype(plane.dtype)
    return result


def _gate(moved: NDArray[np.float32]) -> NDArray[np.float32]:
    """(S, S) from 0 to 1 where something moved, for (S, S) moves in sides of the crop."""
    low, high = _MOVED
    share = np.clip((moved - low) / (high - low), 0, 1).astype(np.float32)
    size = max(1, round(_SPREAD * len(moved)))
    wide = cv2.dilate(share, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * size + 1,) * 2))
    return cv2.GaussianBlur(wide, (0, 0), size / 2)  # type: ignore[return-value]
