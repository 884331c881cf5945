"""Calibration: authored unit vectors pulled toward tracked footage; how configs/rig.yaml was tuned.

    python -m deca.calibration a.safetensors b.safetensors ... --output rig.yaml --bias bias.npz

takes performances saved by `ned direct --save-performance` and writes the same rig with new
control vectors, and the tracker's pose bias. The shipped values were calibrated on ten clips of
eight people by an earlier script of the same method (prior 0.3, then 0.12; twelve rounds each).
"""

from __future__ import annotations

import argparse
import dataclasses
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deca.fitting import FittingSettings, fit, head_shapes, pose_features
from deca.rig import Rig, UnitSpec, build_rig, load_rig, mirrored
from ned.core.face.mesh import FaceMesh
from ned.core.face.performance import Performance

_SIGNS = np.array([-1, 1, 1], np.float64)  # x, y, z under reflection
_BIAS_RIDGE = 0.02
_FLOOR = 0.02  # of the mean use of all units; keeps rarely used units close to their authored form


@dataclass(frozen=True)
class CalibrationSettings:
    """How strongly footage may change the authored rig.

    Attributes:
        prior: weight of the authored vectors relative to the data of each unit.
        strong_prior: factor on it for `strong` units, which footage shows too rarely.
        rounds: alternations of fitting the performances and solving for the vectors.
    """

    prior: float = 0.12
    strong_prior: float = 30.0
    rounds: int = 12
    strong: tuple[str, ...] = (
        *("tighten_upper", "tighten_lower", "cheek_puff", "cheek_raise", "nostril_flare"),
        *("lips_part_upper", "dimple", "jaw_clench", "nose_wrinkle", "upper_lid_raise", "press"),
    )


def calibrate(performances: Sequence[Performance], rig: Rig, settings: CalibrationSettings) -> Rig:
    """Alternate between fitting all performances and ridge regression of the control vectors.

    The dense basis is linear in the control vectors, so for given activations the best vectors
    solve one linear system per axis; each clip counts by the inverse square root of its movement.
    Each unit keeps its authored size, so activations keep their meaning.
    """
    authored = rig
    for _ in range(settings.rounds):
        usage, moments = _Usage.empty(len(rig)), _Moments()
        for performance in performances:
            fitted = fit(performance.track, rig, FittingSettings(smoothness=0.0))
            seen = performance.track.present
            shapes = head_shapes(fitted, rig)
            moved = rig.displacement(fitted.units[seen])
            features = pose_features(fitted.rotation[seen])
            bias = (features @ rig.mesh.pose_bias.reshape(5, -1)).reshape(shapes.shape)
            moments.add(features, shapes - fitted.identity - moved)
            usage.add(fitted.units[seen], shapes - fitted.identity - bias)
        mesh = dataclasses.replace(rig.mesh, pose_bias=_symmetric_bias(moments.solve(), rig.mesh))
        rig = build_rig(mesh, _solve_specs(usage, authored, settings))
    return rig


@dataclass
class _Usage:
    """Second moments of activations, and their products with the shapes."""

    gram: NDArray[np.float64]
    products: NDArray[np.float64]

    @classmethod
    def empty(cls, units: int) -> _Usage:
        return cls(np.zeros((units, units)), np.zeros((units, 468, 3)))

    def add(self, units: NDArray[np.float32], offsets: NDArray[np.float32]) -> None:
        movement = float(((offsets - offsets.mean(0)) ** 2).sum()) / len(offsets)
        weight = 1 / np.sqrt(max(movement, 1e-9) * len(offsets))
        self.gram += weight * units.T @ units
        self.products += weight * np.tensordot(units, offsets, axes=(0, 0))


class _Moments:
    """Normal equations of the pose bias."""

    def __init__(self) -> None:
        self.gram, self.products = np.zeros((5, 5)), np.zeros((5, 468 * 3))

    def add(self, features: NDArray[np.float32], offsets: NDArray[np.float32]) -> None:
        weight = 1 / np.sqrt(len(features))
        self.gram += weight * features.T @ features
        self.products += weight * features.T @ offsets.reshape(len(offsets), -1)

    def solve(self) -> NDArray[np.float64]:
        ridge = _BIAS_RIDGE * np.trace(self.gram) / 5 * np.eye(5)
        return np.linalg.solve(self.gram + ridge, self.products).reshape(5, 468, 3)


def _symmetric_bias(bias: NDArray[np.float64], mesh: FaceMesh) -> NDArray[np.float32]:
    """A turn to the left must bend the face as the mirror image of a turn to the right."""
    signs = (-1, 1, 1, 1, -1)  # of the pose features under reflection
    fields = [(b + s * mirrored(b, mesh)) / 2 for b, s in zip(bias, signs, strict=True)]
    return np.stack(fields).astype(np.float32)


def _solve_specs(
    usage: _Usage, authored: Rig, settings: CalibrationSettings
) -> tuple[UnitSpec, ...]:
    """New control vectors of every unit, toward the authored ones."""
    mesh, specs = authored.mesh, authored.specs
    operators = [spec.operator(mesh) for spec in specs]
    starts = np.cumsum([0] + [operator.shape[1] for operator in operators])
    before = np.concatenate([spec.vectors(mesh) for spec in specs])
    after = np.zeros_like(before)
    for axis, sign in enumerate(_SIGNS):
        columns = [
            (owner, column)
            for owner, (spec, operator) in enumerate(zip(specs, operators, strict=True))
            for column in _columns(spec, operator, sign * operator[mesh.mirror])
        ]
        system, right = np.zeros((starts[-1], starts[-1])), np.zeros(starts[-1])
        use = np.zeros(starts[-1])
        for p, (i, left) in enumerate(columns):
            rows = slice(starts[i], starts[i + 1])
            right[rows] += left.T @ usage.products[p, :, axis]
            use[rows] = np.maximum(use[rows], usage.gram[p, p])
            for q, (j, other) in enumerate(columns):
                system[rows, starts[j] : starts[j + 1]] += usage.gram[p, q] * (left.T @ other)
        firmness = [
            settings.strong_prior if spec.name in settings.strong else 1.0 for spec in specs
        ]
        prior = settings.prior * np.repeat(firmness, np.diff(starts))
        prior = prior * (use + _FLOOR * use.mean()) + 1e-9
        after[:, axis] = np.linalg.solve(system + np.diag(prior), right + prior * before[:, axis])
    renewed = []
    for spec, operator, start, stop in zip(specs, operators, starts, starts[1:], strict=False):
        old, new = operator @ before[start:stop], operator @ after[start:stop]
        size = np.linalg.norm(old) / max(float(np.linalg.norm(new)), 1e-9)
        renewed.append(_with_vectors(spec, mesh, after[start:stop] * size))
    return tuple(renewed)


def _columns(
    spec: UnitSpec, right: NDArray[np.float64], left: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """The operators of a unit's dense columns."""
    return [right, left] if spec.sided or spec.mirrored else [(right + left) / 2]


def _with_vectors(spec: UnitSpec, mesh: FaceMesh, vectors: NDArray[np.float64]) -> UnitSpec:
    """The unit with new vectors, rounded to a tenth of a percent as the YAML holds them."""
    symmetric = not (spec.sided or spec.mirrored)
    place = {int(point): k for k, point in enumerate(spec.points(mesh))}
    controls = {}
    for point in spec.controls:
        vector, twin = vectors[place[point]], int(mesh.mirror[point])
        if symmetric:
            vector = (vector + vectors[place[twin]] * _SIGNS) / 2
        out = -vector[0] if mesh.neutral[point, 0] < 1e-6 else vector[0]
        rounded = [round(100 * float(v), 1) + 0.0 for v in (out, vector[1], vector[2])]
        controls[point] = (rounded[0], rounded[1], rounded[2])
    return dataclasses.replace(spec, controls=controls)


def write_rig(source: str, specs: Sequence[UnitSpec]) -> str:
    """The YAML text of `source` with the controls of `specs`; comments above `units:` stay."""
    import yaml

    entries = yaml.safe_load(source)["units"]
    parts = [source[: source.index("\nunits:") + 1], "units:\n"]
    for spec in specs:
        entry = entries[spec.name]
        options = ", ".join(
            f"{key}: {str(entry[key]).lower() if isinstance(entry[key], bool) else entry[key]}"
            for key in ("au", "region", "emotional", "sided", "mirrored", "reach")
            if key in entry
        )
        controls = ", ".join(
            f"{point}: [{', '.join(f'{v:.1f}' for v in vector)}]"
            for point, vector in spec.controls.items()
        )
        indent = " " * 6
        wrapped = textwrap.fill(
            controls, 92, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )
        pins = ", ".join(entry["pin"])
        parts.append(
            f"  {spec.name}:\n    {{{options}, pin: [{pins}], controls: {{\n{wrapped}}}}}\n"
        )
    return "".join(parts)


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("performances", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--bias", type=Path)
    parser.add_argument("--prior", type=float, default=CalibrationSettings.prior)
    parser.add_argument("--rounds", type=int, default=CalibrationSettings.rounds)
    arguments = parser.parse_args()
    settings = CalibrationSettings(prior=arguments.prior, rounds=arguments.rounds)
    performances = [Performance.load(path) for path in arguments.performances]
    rig = calibrate(performances, load_rig(), settings)
    source = resources.files("configs").joinpath("rig.yaml").read_text(encoding="utf-8")
    arguments.output.write_text(write_rig(source, rig.specs), encoding="utf-8")
    if arguments.bias is not None:
        np.savez(arguments.bias, pose_bias=rig.mesh.pose_bias)


if __name__ == "__main__":
    main()
