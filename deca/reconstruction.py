"""Reconstruction: pictures of a face become FLAME codes (DECA), and codes become a head."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from deca.crop import SIDE, crop_image
from deca.detail import DetailDecoder, DetailSurface, detail_codes
from deca.encoder import COARSE, DETAIL, Encoder, split_codes
from deca.flame import Flame
from deca.flame_codes import FlameCodes
from deca.normals import vertex_normals
from ned.core.device import Precision, find_device, is_short_fast
from ned.core.errors import AssetError, InputError
from ned.core.files.checkpoint import load_strict, load_weights
from ned.core.progress import SILENT, Progress

_VISIBLE = 0.1  # landmarks whose projected normal's z is below this face the camera
_FLIP = np.array([1, -1, -1], np.float32)


@dataclass(frozen=True, eq=False)
class FaceImage:
    """A picture with one face in it.

    Attributes:
        image: (H, W, 3) uint8 RGB. frame: its number, counted over all videos of the actor.
        crop_from_image: (3, 3) similarity of `deca.crop`. present: False where no face was seen.
    """

    image: NDArray[np.uint8]
    crop_from_image: NDArray[np.float64]
    frame: int
    present: bool = True


class Deca:
    """The three networks of DECA (Feng et al., 2021).

    With precision "auto" the wrinkles (E_detail, D_detail) are computed in bfloat16 where that is
    faster, and E_flame in float32: its 8 bits would make size and pose of the head tremble.

    Attributes:
        coarse, detail, decoder: E_flame, E_detail and D_detail, in evaluation mode.
    """

    def __init__(
        self,
        coarse: Encoder,
        detail: Encoder,
        decoder: DetailDecoder,
        device: torch.device,
        precision: Precision = "auto",
    ) -> None:
        """Put networks with weights to work.

        Raises:
            InputError: The precision is unknown.
        """
        if precision not in get_args(Precision):
            raise InputError(
                f"precision is '{precision}'; {', '.join(get_args(Precision))} are accepted"
            )
        self.coarse, self.detail, self.decoder, self.device = coarse, detail, decoder, device
        for network in (coarse, detail, decoder):
            network.eval().requires_grad_(False)
            network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        fast = precision == "auto" and is_short_fast(device)
        self._short_coarse = precision == "bfloat16"
        self._short_detail = precision == "bfloat16" or fast

    @classmethod
    def load(cls, path: Path, device: str = "auto", precision: Precision = "auto") -> Deca:
        """DECA with the weights of deca_model.tar; what else the file holds is left.

        Raises:
            InputError: The file is missing or damaged, or the device is not there.
            AssetError: It holds other networks.
        """
        where = find_device(device)
        state = load_weights(path)
        with torch.device("meta"):  # no numbers yet: the file brings all of them
            coarse, detail, decoder = Encoder(COARSE), Encoder(DETAIL), DetailDecoder()
        networks = {"E_flame": coarse, "E_detail": detail, "D_detail": decoder}
        for name, network in networks.items():
            if not isinstance(state.get(name), dict):
                found = ", ".join(sorted(map(str, state))[:4]) or "nothing"
                raise AssetError(
                    f"'{path}' holds {found}, but no {name}; deca_model.tar of DECA is needed"
                )
            network.to_empty(device="cpu")
            load_strict(network, state[name], path)
        return cls(coarse, detail, decoder, where, precision)

    def encode(self, crops: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Crops (B, 3, 224, 224) of `crop_image` -> coarse (B, 236) and detail codes (B, 128)."""
        if crops.ndim != 4 or crops.shape[1:] != (3, SIDE, SIDE):
            raise InputError(
                f"crops of shape {crops.shape} were given; (B, 3, {SIDE}, {SIDE}) is needed"
            )
        given = torch.from_numpy(np.ascontiguousarray(crops, np.float32)).to(
            self.device, memory_format=torch.channels_last
        )
        coarse = self._run(self.coarse, given, self._short_coarse)
        return coarse, self._run(self.detail, given, self._short_detail)

    def displacement(self, codes: FlameCodes) -> NDArray[np.float32]:
        """Wrinkles of codes with detail: (T, 256, 256) float32 metres along the normals.

        Raises:
            InputError: The codes have no detail.
        """
        if codes.detail is None:
            raise InputError("these FLAME codes have no detail; reconstruct them with deca")
        given = detail_codes(codes.pose, codes.expression, codes.detail).to(self.device)
        return self._run(self.decoder, given, self._short_detail)[:, 0]

    def _run(self, network: Any, given: torch.Tensor, short: bool) -> NDArray[np.float32]:
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, short):
            result = network(given)
        return result.float().cpu().numpy()

    def reconstruct(
        self,
        faces: Iterable[FaceImage],
        batch: int = 16,
        progress: Progress = SILENT,
        total: int | None = None,
    ) -> FlameCodes:
        """Codes of pictures, read `batch` at a time; those without a face are encoded too.

        Raises:
            InputError: There is no picture, or one of another kind.
        """
        if batch < 1:
            raise InputError(f"a batch of {batch} pictures was given; 1 or more are accepted")
        parts: list[dict[str, NDArray[Any]]] = []
        with progress.stage("reconstructing", total) as step:
            for group in _groups(faces, batch):
                crops = np.stack([crop_image(face.image, face.crop_from_image) for face in group])
                coarse, detail = self.encode(crops)
                split = split_codes(torch.from_numpy(coarse))
                part = {name: value.numpy() for name, value in vars(split).items()}
                part["detail"] = detail
                part["transforms"] = np.stack([face.crop_from_image for face in group])
                part["image_size"] = np.array([face.image.shape[1::-1] for face in group])
                part["present"] = np.array([face.present for face in group])
                part["frames"] = np.array([face.frame for face in group])
                parts.append(part)
                step(len(group))
        if not parts:
            raise InputError("there is no picture to reconstruct a face from")
        whole: dict[str, Any] = {
            name: np.concatenate([part[name] for part in parts]) for name in parts[0]
        }
        return FlameCodes(source="deca", **whole)


def _groups(faces: Iterable[FaceImage], size: int) -> Iterator[list[FaceImage]]:
    iterator = iter(faces)
    while group := list(islice(iterator, size)):
        yield group


@dataclass(frozen=True, eq=False)
class HeadGeometry:
    """Heads of B frames, ready to be drawn.

    Device coordinates are those of the 224-pixel crop: x right, y down, from -1 at one edge to 1,
    smaller z is nearer; its scale is that of x and y.

    Attributes:
        vertices: (B, V, 3) metres, x right, y up, z to the camera. normals: (B, V, 3) of them.
        projected: (B, V, 3) device coordinates. projected_normals: (B, V, 3) of them.
        landmarks2d: (B, 68, 2) device coordinates; the outline follows the yaw.
        landmarks3d: (B, 68, 3) the same at places of the skin that stay.
        visible: (B, 68) bool, True where the skin at landmarks3d faces the camera.
        displacement: (B, 256, 256) metres, wrinkles of each texel, None without detail.
        detail_normals: (B, 256, 256, 3) normals of the texels with wrinkles, None without detail.
    """

    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    projected: NDArray[np.float32]
    projected_normals: NDArray[np.float32]
    landmarks2d: NDArray[np.float32]
    landmarks3d: NDArray[np.float32]
    visible: NDArray[np.bool_]
    displacement: NDArray[np.float32] | None
    detail_normals: NDArray[np.float32] | None


class HeadDecoder:
    """Codes become heads: FLAME, and DECA's wrinkles where they are known."""

    def __init__(
        self, flame: Flame, surface: DetailSurface | None = None, deca: Deca | None = None
    ) -> None:
        """Take what is there; wrinkles need both `surface` and `deca`.

        Raises:
            AssetError: The surface's template is of another mesh.
        """
        self.flame, self.surface, self.deca = flame, surface, deca
        self.faces = flame.faces.cpu().numpy().astype(np.int32)
        count = len(flame.template)
        if surface is not None:
            faces = surface.template.faces
            if faces.shape != self.faces.shape or faces.max() >= count:
                raise AssetError(
                    f"the head template has {len(faces)} triangles, FLAME {len(self.faces)}; "
                    "give head_template.obj of DECA and an unchanged FLAME model"
                )
            self.faces = faces
        low, high = flame.template.min(0).values, flame.template.max(0).values
        colours = (flame.template - low) / (high - low)
        self.colours = colours.cpu().numpy().astype(np.float32)
        """(V, 3) place of each vertex in the template's box, from 0 to 1 along each axis."""

    def decode(self, codes: FlameCodes) -> HeadGeometry:
        """All geometry of some frames; a second of film at a time keeps the memory small."""
        flame = self.flame
        given = [torch.from_numpy(part) for part in (codes.shape, codes.expression, codes.pose)]
        given = [part.to(flame.template) for part in given]
        with torch.inference_mode():
            mesh = flame(*given)
        vertices, outline, places = (
            tensor.float().cpu().numpy()
            for tensor in (mesh.vertices, mesh.landmarks2d, mesh.landmarks3d)
        )
        projected = project(vertices, codes.camera)
        projected_normals = vertex_normals(projected, self.faces)
        corners = flame.get_buffer("full_corners").cpu().numpy()
        weights = flame.get_buffer("full_weights").float().cpu().numpy()
        facing = (projected_normals[:, corners, 2] * weights).sum(-1)
        normals = vertex_normals(vertices, self.faces)
        displacement = detail_normals = None
        if self.surface is not None and self.deca is not None and codes.detail is not None:
            wrinkles = self.deca.displacement(codes)
            displacement = self.surface.displacement_map(wrinkles)
            detail_normals = self.surface.normals(vertices, normals, wrinkles)
        return HeadGeometry(
            vertices=vertices,
            normals=normals,
            projected=projected,
            projected_normals=projected_normals,
            landmarks2d=project(outline, codes.camera)[..., :2],
            landmarks3d=project(places, codes.camera),
            visible=facing < _VISIBLE,
            displacement=displacement,
            detail_normals=detail_normals,
        )


def project(points: NDArray[np.floating], camera: NDArray[np.floating]) -> NDArray[np.float32]:
    """Head points (B, N, 3) -> device coordinates: s · (x + tx, -(y + ty), -z).

    Args:
        camera: (B, 3) s, tx, ty.
    """
    camera = np.asarray(camera, np.float32)
    moved = np.array(points, np.float32)
    moved[..., :2] += camera[:, None, 1:]
    return moved * (camera[:, None, :1] * _FLIP)
