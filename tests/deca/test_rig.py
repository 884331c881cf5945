"""The rig: what is authored in configs/rig.yaml is what the dense columns do, and nothing else."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from deca.rig import Rig, UnitSpec, build_rig, load_rig, mirrored, read_specs
from manipulator.prototypes import load_prototypes
from ned.core.face import mesh as face
from ned.core.face.mesh import FaceMesh

RIG = load_rig()
SPECS = {spec.name: spec for spec in RIG.specs}
UPPER_LIP = (*face.UPPER_INNER_LIP[1:-1], *face.UPPER_OUTER_LIP[1:-1])
LOWER_LIP = (*face.LOWER_INNER_LIP[1:-1], *face.LOWER_OUTER_LIP[1:-1])
UPPER_LIDS = (*face.RIGHT_UPPER_LID[1:-1], *face.LEFT_UPPER_LID[1:-1])
LOWER_LIDS = (*face.RIGHT_LOWER_LID[1:-1], *face.LEFT_LOWER_LID[1:-1])
LIDS = (*UPPER_LIDS, *LOWER_LIDS, 33, 133, 263, 362)


def reach_of(rig: Rig, unit: str, points: tuple[int, ...]) -> float:
    """Largest movement of some points at activation 1, in face units."""
    field = rig.basis[rig.columns(unit)[0]][list(points)]
    return float(np.linalg.norm(field, axis=1).max())


def config(name: str) -> str:
    return resources.files("configs").joinpath(name).read_text(encoding="utf-8")


def test_columns(rig: Rig = RIG) -> None:
    assert 40 <= len(rig) <= 64
    assert rig.basis.shape == (len(rig), 468, 3)
    assert rig.basis.dtype == np.float32
    assert np.isfinite(rig.basis).all()
    assert len(set(rig.names)) == len(rig.names) == len(rig.regions) == len(rig.emotional)
    assert set(rig.regions) == {"brows", "eyes", "mouth"}
    assert rig.columns("jaw_open") == (rig.index["jaw_open"],)
    right, left = rig.columns("corner_pull")
    assert (rig.names[right], rig.names[left]) == ("corner_pull_right", "corner_pull_left")
    with pytest.raises(KeyError):
        rig.columns("wings")


def test_speech_is_not_emotional(rig: Rig = RIG) -> None:
    speech = {"jaw_open", "jaw_drop", "pucker", "funnel_upper", "lips_part_lower", "suck_lower"}
    emotion = {"corner_pull", "corner_depress", "brow_lower", "cheek_raise", "upper_lid_raise"}
    assert not any(rig.emotional[column] for unit in speech for column in rig.columns(unit))
    assert all(rig.emotional[column] for unit in emotion for column in rig.columns(unit))


@pytest.mark.parametrize("name", SPECS)
def test_controls_move_as_authored(name: str) -> None:
    spec, mesh = SPECS[name], RIG.mesh
    authored = yaml.safe_load(config("rig.yaml"))["units"][name]["controls"]
    field = RIG.basis[RIG.columns(name)[0]]
    largest = max(np.linalg.norm(vector) for vector in authored.values()) / 100
    for point, (out, up, forward) in authored.items():
        side = -1 if mesh.neutral[point, 0] < 1e-6 else 1
        wanted = np.array([side * out, up, forward]) / 100
        if mesh.mirror[point] == point and not (spec.sided or spec.mirrored):
            wanted[0] = 0
        assert np.linalg.norm(field[point] - wanted) < 0.01 + 0.05 * largest, point
    at_controls = field[list(authored)]
    assert np.linalg.norm(at_controls, axis=1).max() > 0.9 * largest


@pytest.mark.parametrize("name", SPECS)
def test_pins_stay(name: str) -> None:
    spec = SPECS[name]
    controls = set(spec.points(RIG.mesh).tolist())
    pins = [point for point in spec.pins if point not in controls]
    field = np.linalg.norm(RIG.basis[RIG.columns(name)[0]], axis=1)
    assert pins
    assert field[pins].max() < 0.004
    assert field[pins].max() < 0.08 * field.max()


@pytest.mark.parametrize("name", SPECS)
def test_sides_mirror_each_other(name: str) -> None:
    columns = RIG.columns(name)
    right, left = RIG.basis[columns[0]], RIG.basis[columns[-1]]
    np.testing.assert_allclose(mirrored(right, RIG.mesh), left, atol=1e-6)
    assert (len(columns) == 2) == (SPECS[name].sided or SPECS[name].mirrored)
    if SPECS[name].sided:  # a unit of one side hardly moves the other
        far = RIG.mesh.neutral[:, 0] > 0.25
        assert np.linalg.norm(right[far], axis=1).max() < 0.1 * np.linalg.norm(right, axis=1).max()


def test_mirror_of_columns_is_an_involution(rig: Rig = RIG) -> None:
    assert np.array_equal(rig.mirror[rig.mirror], np.arange(len(rig)))
    for column, other in enumerate(rig.mirror):
        field = mirrored(rig.basis[column], rig.mesh)
        np.testing.assert_allclose(field, rig.basis[other], atol=1e-6)


@pytest.mark.parametrize(
    ("units", "moving", "still"),
    [
        (
            ("funnel_upper", "tighten_upper", "suck_upper", "lips_part_upper", "upper_lip_raise"),
            UPPER_LIP,
            LOWER_LIP,
        ),
        (
            ("funnel_lower", "tighten_lower", "suck_lower", "lips_part_lower"),
            LOWER_LIP,
            UPPER_LIP,
        ),
        (("lower_lip_depress", "jaw_forward"), LOWER_LIP, UPPER_LIP),
        (("upper_lid_raise",), UPPER_LIDS, LOWER_LIDS),
        (("lid_tighten", "cheek_raise"), LOWER_LIDS, UPPER_LIDS),
    ],
    ids=["upper lip", "lower lip", "lower lip of the jaw", "upper lid", "lower lid"],
)
def test_falloff_stops_at_lip_and_lid_lines(
    units: tuple[str, ...], moving: tuple[int, ...], still: tuple[int, ...]
) -> None:
    for unit in units:
        assert reach_of(RIG, unit, moving) > 0.02, unit
        assert reach_of(RIG, unit, still) < 0.003, unit


def test_mouth_leaves_brows_and_lids_alone(rig: Rig = RIG) -> None:
    brows = (107, 66, 105, 63, 70)
    for name, region in zip(rig.names, rig.regions, strict=True):
        if region == "brows":
            assert reach_of(rig, name, (*UPPER_LIP, *LOWER_LIP)) < 1e-6, name
        if region == "mouth" and not name.startswith(("nose_wrinkle", "face_lengthen")):
            assert reach_of(rig, name, (*LIDS, *brows)) < 0.004, name


def test_jaw_opens_downward_and_lid_closes_the_eye(rig: Rig = RIG) -> None:
    jaw = rig.basis[rig.index["jaw_open"]]
    assert jaw[152, 1] < -0.15
    assert jaw[14, 1] - jaw[13, 1] < -0.15
    lid = rig.basis[rig.index["lid_close_right"]]
    opening = rig.mesh.neutral[159, 1] - rig.mesh.neutral[145, 1]
    assert lid[159, 1] - lid[145, 1] < -0.8 * opening


def test_displacement_is_linear(rig: Rig = RIG) -> None:
    generator = np.random.default_rng(1)
    a, b = generator.random((2, 3, 4, len(rig)), np.float32)
    assert rig.displacement(a).shape == (3, 4, 468, 3)
    both = rig.displacement(2 * a - b)
    np.testing.assert_allclose(both, 2 * rig.displacement(a) - rig.displacement(b), atol=2e-5)
    np.testing.assert_allclose(rig.displacement(np.eye(len(rig))), rig.basis, atol=1e-7)
    assert not rig.displacement(np.zeros(len(rig))).any()


def test_other_files_name_units_that_exist(rig: Rig = RIG) -> None:
    for prototype in load_prototypes().values():
        for label, amounts in prototype.variants:
            for unit in amounts:
                assert rig.columns(unit), f"{prototype.name}, {label}: {unit}"
    shading = yaml.safe_load(config("shading.yaml"))
    for entry in (*shading["folds"], *shading["patches"]):
        assert rig.columns(entry["unit"]), entry["name"]


def test_emotions_have_variants_and_known_dynamics() -> None:
    known = load_prototypes()
    assert {"happy", "sad", "angry", "surprised", "fear", "disgusted", "neutral"} <= set(known)
    for prototype in known.values():
        assert prototype.onset > 0
        assert prototype.offset > 0
        assert 0 <= prototype.wave < 1
        assert 0 <= prototype.accent < 1
        count = len(prototype.variants)
        assert np.array_equal(prototype.amounts(RIG, 0), prototype.amounts(RIG, count))
    assert not known["neutral"].amounts(RIG, 0).any()


def test_amounts_of_a_unit_without_side_act_on_both(rig: Rig = RIG) -> None:
    amounts = load_prototypes()["happy"].amounts(rig, 0)
    right, left = rig.columns("corner_pull")
    assert amounts[right] == amounts[left] > 0
    lopsided = load_prototypes()["contempt"].amounts(rig, 0)
    assert not np.array_equal(lopsided, lopsided[rig.mirror])


GOOD = """
groups: {nose: [1, 4]}
units:
  sound: {region: mouth, emotional: true, reach: 0.3, pin: [nose], controls: {61: [1, 2, 3]}}
  broken: %s
"""


@pytest.mark.parametrize(
    "entry",
    [
        "{emotional: true, reach: 0.3, pin: [nose], controls: {61: [1, 2, 3]}}",
        "{region: mouth, emotional: true, reach: 0.3, pin: [tail], controls: {61: [1, 2, 3]}}",
        "{region: mouth, emotional: true, reach: 0.3, pin: [nose], controls: {61: [1, 2]}}",
        "{region: mouth, emotional: true, reach: 0.3, pin: [nose], controls: {lip: [1, 2, 3]}}",
        "{region: mouth, emotional: true, reach: 0.3, pin: [nose], controls: [61]}",
        "{region: mouth, emotional: true, pin: [nose], controls: {61: [1, 2, 3]}}",
        "{region: ears, emotional: true, reach: 0.3, pin: [nose], controls: {61: [1, 2, 3]}}",
        "{region: mouth, emotional: true, reach: 0, pin: [nose], controls: {61: [1, 2, 3]}}",
        "{region: mouth, emotional: true, reach: 0.3, pin: [nose], controls: {468: [1, 2, 3]}}",
        "[region, mouth]",
        "3",
    ],
)
def test_malformed_units_are_named(entry: str, mesh: FaceMesh = RIG.mesh) -> None:
    with pytest.raises(ValueError, match="'broken'"):
        read_specs(GOOD % entry, mesh)


def test_a_small_rig_of_ones_own(mesh: FaceMesh = RIG.mesh) -> None:
    text = GOOD % (
        "{region: brows, emotional: false, sided: true, reach: 0.3, pin: [nose], "
        "controls: {105: [0, 5, 0]}}"
    )
    rig = build_rig(mesh, read_specs(text, mesh))
    assert rig.names == ("sound", "broken_right", "broken_left")
    assert rig.regions == ("mouth", "brows", "brows")
    assert rig.emotional.tolist() == [True, False, False]
    assert isinstance(rig.specs[0], UnitSpec)
    symmetric: NDArray[np.float32] = rig.basis[0]
    # `out` points away from the midline: left on the right side of the face, right on the left.
    np.testing.assert_allclose(symmetric[61], [-0.01, 0.02, 0.03], atol=1e-3)
    np.testing.assert_allclose(symmetric[291], [0.01, 0.02, 0.03], atol=1e-3)
    beyond = mesh.geodesic[105] > 0.3
    assert not rig.basis[1][beyond].any()
    assert rig.basis[1][105, 1] == pytest.approx(0.05, rel=0.02)
