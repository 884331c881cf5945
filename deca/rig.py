"""Rig: a linear face of authored, FACS-like units on the 468-point mesh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from ned.core.face.mesh import FaceMesh, load_mesh

REGIONS = ("brows", "eyes", "mouth")
_RIDGE = 1e-2  # keeps the interpolation of nearby controls well conditioned


@dataclass(frozen=True)
class UnitSpec:
    """One authored unit before it is made dense: which points move where, and how far it reaches.

    Attributes:
        name: as in configs/rig.yaml.
        region: "brows", "eyes" or "mouth".
        emotional: True if the unit carries emotion rather than speech.
        sided: the unit exists once per side. mirrored: it is a movement to either side.
        reach: falloff radius along the surface, in face units.
        pins: landmarks that this unit must not move.
        controls: landmark -> (out, up, forward) in percent of the outer-eye distance.
    """

    name: str
    region: str
    emotional: bool
    sided: bool
    mirrored: bool
    reach: float
    pins: tuple[int, ...]
    controls: Mapping[int, tuple[float, float, float]]

    def points(self, mesh: FaceMesh) -> NDArray[np.int64]:
        """Controls of the subject's right side, completed by their mirror images if symmetric."""
        points = list(self.controls)
        if not (self.sided or self.mirrored):
            points += [int(mesh.mirror[p]) for p in points if mesh.mirror[p] != p]
        return np.array(points)

    def vectors(self, mesh: FaceMesh) -> NDArray[np.float64]:
        """(len(points), 3) displacement of `points` in face units (x to the image's right)."""
        right = mesh.neutral[:, 0] < 1e-6
        rows = []
        for point in self.points(mesh):
            source = point if int(point) in self.controls else int(mesh.mirror[point])
            out, up, forward = self.controls[int(source)]
            rows.append((-out if right[point] else out, up, forward))
        return np.array(rows, np.float64) / 100

    def operator(self, mesh: FaceMesh) -> NDArray[np.float64]:
        """(468, len(points)) map from control displacements to the whole surface.

        Kernel interpolation; the kernel measures distance along the surface, which goes round
        mouth and eyes and so stops at lip and lid lines.
        """
        points = self.points(mesh)
        pins = [p for p in self.pins if p not in set(points.tolist())]
        centres = np.concatenate([points, np.array(pins, np.int64)])
        kernel = _surface_kernel(mesh, self.reach)
        gram = kernel[np.ix_(centres, centres)] + _RIDGE * np.eye(len(centres))
        return (kernel[:, centres] @ np.linalg.inv(gram))[:, : len(points)]


@lru_cache(maxsize=64)
def _surface_kernel(mesh: FaceMesh, reach: float) -> NDArray[np.float64]:
    """(468, 468) correlation of two points, 0 beyond `reach` along the surface.

    Wendland's C2 function (1995) of half the reach, multiplied by its own transpose: positive
    definite on any mesh, which a function of geodesic distance alone is not.
    """
    distance = mesh.geodesic.astype(np.float64) / (reach / 2)
    half = np.clip(1 - distance, 0, None) ** 4 * (4 * distance + 1)
    kernel = half @ half.T
    scale = np.sqrt(np.diag(kernel))
    return kernel / np.outer(scale, scale)


@dataclass(frozen=True, eq=False)
class Rig:
    """The dense rig: face = neutral + sum over units of activation × basis.

    Attributes:
        mesh: topology and mean neutral shape.
        names: (U) column names, sided units as `<unit>_right`, `<unit>_left`.
        regions: (U) "brows", "eyes" or "mouth".
        emotional: (U,) bool, units that carry emotion rather than speech.
        basis: (U, 468, 3) float32 displacement at activation 1, face units.
        specs: the authored units the columns were built from.
    """

    mesh: FaceMesh
    names: tuple[str, ...]
    regions: tuple[str, ...]
    emotional: NDArray[np.bool_]
    basis: NDArray[np.float32]
    specs: tuple[UnitSpec, ...]

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def index(self) -> dict[str, int]:
        """Column of each name."""
        return {name: k for k, name in enumerate(self.names)}

    def columns(self, unit: str) -> tuple[int, ...]:
        """Columns of a unit: both sides of a sided one, else one; KeyError if unknown."""
        if unit in self.index:
            return (self.index[unit],)
        return (self.index[f"{unit}_right"], self.index[f"{unit}_left"])

    @cached_property
    def mirror(self) -> NDArray[np.int64]:
        """(U,) column of the same movement on the other side."""
        swap = {"_right": "_left", "_left": "_right"}
        names = []
        for name in self.names:
            for end, other in swap.items():
                if name.endswith(end):
                    name = name.removesuffix(end) + other
                    break
            names.append(self.index[name])
        return np.array(names)

    def displacement(self, units: NDArray[np.floating]) -> NDArray[np.float32]:
        """(..., U) activations -> (..., 468, 3) displacement in face units."""
        units = np.asarray(units, np.float32)
        flat = units.reshape(-1, len(self)) @ self.basis.reshape(len(self), -1)
        return flat.reshape(*units.shape[:-1], 468, 3)


def build_rig(mesh: FaceMesh, specs: tuple[UnitSpec, ...]) -> Rig:
    """Make the dense basis of all units; a sided unit's left column mirrors its right one."""
    names: list[str] = []
    regions: list[str] = []
    emotional: list[bool] = []
    basis: list[NDArray[np.float64]] = []
    for spec in specs:
        field = spec.operator(mesh) @ spec.vectors(mesh)
        if spec.sided or spec.mirrored:
            columns = {f"{spec.name}_right": field, f"{spec.name}_left": mirrored(field, mesh)}
        else:
            columns = {spec.name: (field + mirrored(field, mesh)) / 2}
        for name, column in columns.items():
            names.append(name)
            regions.append(spec.region)
            emotional.append(spec.emotional)
            basis.append(column)
    return Rig(
        mesh,
        tuple(names),
        tuple(regions),
        np.array(emotional),
        np.stack(basis).astype(np.float32),
        specs,
    )


def mirrored(field: NDArray[np.floating], mesh: FaceMesh) -> NDArray[np.floating]:
    """(468, 3) displacement field reflected to the other side of the face."""
    return (field * np.array([-1, 1, 1], field.dtype))[mesh.mirror]


def read_specs(text: str, mesh: FaceMesh) -> tuple[UnitSpec, ...]:
    """Parse the YAML of configs/rig.yaml; raises ValueError naming the unit that is wrong."""
    import yaml

    data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    specs = []
    for name, entry in data["units"].items():
        try:
            pins = sorted({p for group in entry["pin"] for p in data["groups"][group]})
            pins += [int(mesh.mirror[p]) for p in pins if mesh.mirror[p] not in pins]
            controls = {int(p): (v[0], v[1], v[2]) for p, v in entry["controls"].items()}
            spec = UnitSpec(
                name=name,
                region=entry["region"],
                emotional=entry["emotional"],
                sided=entry.get("sided", False),
                mirrored=entry.get("mirrored", False),
                reach=entry["reach"],
                pins=tuple(pins),
                controls=controls,
            )
            if spec.region not in REGIONS or not spec.reach > 0:
                raise ValueError(f"region {spec.region!r}, reach {spec.reach!r}")
            spec.vectors(mesh)  # every control is a point of the mesh
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"rig unit '{name}' is malformed: {error!r}") from error
        specs.append(spec)
    return tuple(specs)


@lru_cache(maxsize=1)
def load_rig() -> Rig:
    """The rig that ships with the package (configs/rig.yaml on configs/face_mesh.safetensors)."""
    mesh = load_mesh()
    text = resources.files("configs").joinpath("rig.yaml").read_text(encoding="utf-8")
    return build_rig(mesh, read_specs(text, mesh))
