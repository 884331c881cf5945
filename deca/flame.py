"""Flame: identity, expression and pose become a head mesh and its landmarks (a torch module)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from deca.flame_file import FlameFile, convert_flame, read_flame
from deca.flame_landmarks import (
    Embedding,
    FlameLandmarks,
    MediapipeLandmarks,
    read_landmarks,
    read_mediapipe,
)
from ned.core.errors import InputError

__all__ = ["Flame", "FlameMesh", "convert_flame", "load_flame", "rotations"]

_PARENTS = (0, 0, 1, 1, 1)
_POSE = 6  # global and jaw; 15 are all five joints


@dataclass(frozen=True)
class FlameMesh:
    """Heads of a batch, in metres: x to the subject's left, y up, z forward.

    Attributes:
        vertices: (B, V, 3).
        landmarks2d: (B, 68, 3) 17 points of the outline, which follow the yaw, and 51 inner ones.
        landmarks3d: (B, 68, 3) the same scheme at places of the surface that stay.
    """

    vertices: Tensor
    landmarks2d: Tensor
    landmarks3d: Tensor


class Flame(nn.Module):
    """FLAME with linear blend skinning; float32, or float64 after `.double()`.

    Attributes:
        template: (V, 3) metres.
        faces: (F, 3) int64.
        mediapipe_points: (N,) int64 indices of the MediaPipe points that `mediapipe` gives, empty
            without their embedding.
    """

    template: Tensor
    faces: Tensor
    identity: Tensor
    expression: Tensor
    pose: Tensor
    regressor: Tensor
    weights: Tensor
    mediapipe_points: Tensor

    def __init__(
        self,
        model: FlameFile,
        landmarks: FlameLandmarks,
        mediapipe: MediapipeLandmarks | None = None,
    ) -> None:
        super().__init__()
        for name in ("template", "regressor", "weights"):
            self.register_buffer(name, torch.tensor(getattr(model, name)), persistent=False)
        for name in ("identity", "expression", "pose"):
            basis = torch.tensor(getattr(model, name)).flatten(1)
            self.register_buffer(name, basis, persistent=False)
        faces = torch.tensor(model.faces.astype(np.int64))
        self.register_buffer("faces", faces, persistent=False)
        self._embed("static", landmarks.static)
        self._embed("contour", landmarks.contour)
        self._embed("full", landmarks.full)
        points = np.zeros(0, np.int64) if mediapipe is None else mediapipe.points
        self.register_buffer("mediapipe_points", torch.tensor(points), persistent=False)
        if mediapipe is not None:
            self._embed("mediapipe", mediapipe.embedding)

    def _embed(self, name: str, embedding: Embedding) -> None:
        corners = self.faces[torch.tensor(embedding.faces)]
        self.register_buffer(f"{name}_corners", corners, persistent=False)
        weights = torch.tensor(embedding.weights)
        self.register_buffer(f"{name}_weights", weights, persistent=False)

    def forward(self, shape: Tensor, expression: Tensor, pose: Tensor) -> FlameMesh:
        """Decode a batch.

        Args:
            shape: (B, up to 300) identity codes in standard deviations; DECA's have 100.
            expression: (B, up to 100) expression codes; DECA's have 50.
            pose: (B, 6) axis-angle of global, jaw in radians, neck and eyes straight; or (B, 15)
                of global, neck, jaw, left eye, right eye.

        Raises:
            ValueError: more codes than this model has, or a pose of another size.
        """
        joints = joint_pose(pose)
        turns = rotations(joints.reshape(-1, 3)).reshape(-1, 5, 3, 3)
        vertices = self._skin(self._shaped(shape, expression), turns)
        outline = self.contour_rows(turns[:, 0] @ turns[:, 1])
        contour = self._points(
            vertices,
            self.get_buffer("contour_corners")[outline],
            self.get_buffer("contour_weights")[outline],
        )
        return FlameMesh(
            vertices=vertices,
            landmarks2d=torch.cat([contour, self._fixed_points(vertices, "static")], dim=1),
            landmarks3d=self._fixed_points(vertices, "full"),
        )

    def mediapipe(self, vertices: Tensor) -> Tensor:
        """(B, V, 3) vertices -> (B, N, 3) the points named by `mediapipe_points`."""
        if len(self.mediapipe_points) == 0:
            raise InputError(
                "FLAME's MediaPipe landmarks are needed; give mediapipe_landmark_embedding.npz"
            )
        return self._fixed_points(vertices, "mediapipe")

    def contour_rows(self, rotation: Tensor) -> Tensor:
        """(B, 3, 3) rotations of global and neck together -> (B,) row of the outline's table.

        The yaw is rounded half to even and ends at 39 degrees to either side.
        """
        across = torch.hypot(rotation[:, 0, 0], rotation[:, 1, 0])
        yaw = torch.rad2deg(torch.atan2(-rotation[:, 2, 0], across))
        whole = torch.round(yaw.clamp(max=39)).long()
        return torch.where(whole >= 0, whole, (39 - whole).clamp(max=78))

    def _shaped(self, shape: Tensor, expression: Tensor) -> Tensor:
        """(B, V, 3) straight head of an identity with an expression."""
        for codes, basis, name in (
            (shape, self.identity, "shape"),
            (expression, self.expression, "expression"),
        ):
            if codes.shape[-1] > len(basis):
                raise ValueError(
                    f"{codes.shape[-1]} {name} codes, but this FLAME model has {len(basis)}"
                )
        offsets = shape @ self.identity[: shape.shape[-1]]
        offsets = offsets + expression @ self.expression[: expression.shape[-1]]
        return self.template + offsets.reshape(len(shape), -1, 3)

    def _skin(self, shaped: Tensor, turns: Tensor) -> Tensor:
        """Pose offsets and linear blend skinning about the joints of the shaped head."""
        joints = torch.einsum("jv,bvc->bjc", self.regressor, shaped)
        feature = (turns[:, 1:] - torch.eye(3).to(turns)).reshape(len(turns), -1)
        posed = shaped + (feature @ self.pose).reshape(shaped.shape)
        rotation, place = [turns[:, 0]], [joints[:, 0]]
        for joint in range(1, len(_PARENTS)):
            parent = _PARENTS[joint]
            arm = (joints[:, joint] - joints[:, parent])[..., None]
            place.append((rotation[parent] @ arm)[..., 0] + place[parent])
            rotation.append(rotation[parent] @ turns[:, joint])
        rotated, moved = torch.stack(rotation, 1), torch.stack(place, 1)
        shift = moved - (rotated @ joints[..., None])[..., 0]
        affine = torch.cat([rotated, shift[..., None]], dim=3).reshape(len(turns), -1, 12)
        blended = (self.weights @ affine).reshape(*posed.shape[:2], 3, 4)
        return (blended[..., :3] @ posed[..., None])[..., 0] + blended[..., 3]

    def _fixed_points(self, vertices: Tensor, name: str) -> Tensor:
        corners, weights = (
            self.get_buffer(f"{name}_corners"),
            self.get_buffer(f"{name}_weights"),
        )
        shape = (len(vertices), *corners.shape)
        return self._points(vertices, corners.expand(shape), weights.expand(shape))

    @staticmethod
    def _points(vertices: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
        """Barycentric points (B, N, 3) of corners (B, N, 3) with weights (B, N, 3)."""
        batch = torch.arange(len(vertices), device=vertices.device)[:, None, None]
        return (vertices[batch, corners] * weights[..., None]).sum(2)


def load_flame(path: Path, landmarks_path: Path, mediapipe_path: Path | None = None) -> Flame:
    """FLAME from the user's files.

    Args:
        path: a FLAME pickle, or one converted to .safetensors.
        landmarks_path: landmark_embedding.npy.
        mediapipe_path: mediapipe_landmark_embedding.npz, for fitting to tracked faces.

    Raises:
        InputError: a file is missing, damaged, hostile, or does not belong to the others.
    """
    model = read_flame(path)
    count = len(model.faces)
    mediapipe = None if mediapipe_path is None else read_mediapipe(mediapipe_path, count)
    return Flame(model, read_landmarks(landmarks_path, count), mediapipe).eval()


def joint_pose(pose: Tensor) -> Tensor:
    """(B, 6) global and jaw, or (B, 15) -> (B, 5, 3) axis-angle of the five joints."""
    if pose.shape[-1] == 3 * len(_PARENTS):
        return pose.reshape(-1, 5, 3)
    if pose.shape[-1] != _POSE:
        raise ValueError(f"a pose of {pose.shape[-1]} numbers; 6 or 15 are accepted")
    still = torch.zeros_like(pose[:, :3])
    return torch.stack([pose[:, :3], still, pose[:, 3:], still, still], dim=1)


def rotations(vectors: Tensor) -> Tensor:
    """(N, 3) axis-angle -> (N, 3, 3) by Rodrigues' formula, with FLAME's guard against zero."""
    angle = (vectors + 1e-8).norm(dim=1, keepdim=True)
    x, y, z = (vectors / angle).unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(-1, 3, 3)
    angle = angle[..., None]
    still = torch.eye(3).to(vectors)
    return still + torch.sin(angle) * cross + (1 - torch.cos(angle)) * (cross @ cross)
