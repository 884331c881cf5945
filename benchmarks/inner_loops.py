"""Inner loops: the calls that run for every frame or pixel, each against a baseline beside it.

    python -m benchmarks.inner_loops [--quick] [--json inner_loops.json]     # a Markdown table
    pytest benchmarks/inner_loops.py                                        # pytest-benchmark's

Every group has one baseline, measured in the same run on the same input: the slow and readable twin
of the loop (whose answer is compared, too), a loop in numpy, or the least that any such step must
do. "Times as fast" is the baseline's best round divided by the loop's best round, so that a busy
machine disturbs it little. Everything is synthetic: the portrait of scikit-image, an egg with as
many triangles as FLAME, made-up FLAME weights (on FLAME's topology where NED_FLAME_SUPPORT has it).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import footage, table

Loop = Callable[..., Any]
_FRAMES, _TAKE = 64, 500


@pytest.fixture
def loop(benchmark: Any) -> Loop:
    """Time a call; `rounds` fixes how often, `baseline` marks what the group is compared with."""

    def run(label: str, work: Callable[[], Any], baseline: bool = False, rounds: int = 0) -> Any:
        benchmark.extra_info.update(label=label, baseline=baseline)
        if rounds:
            return benchmark.pedantic(work, rounds=rounds, warmup_rounds=rounds > 1)
        return benchmark(work)

    return run


def group(name: str) -> Any:
    """Mark tests as one group of the table."""
    return pytest.mark.benchmark(group=name)


# --- rasteriser -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def head() -> Any:
    """An egg of 9,976 triangles and its fragments in 224 x 224 pixels."""
    from slow_rasterizer import egg

    from deca.rasterizer import rasterize

    vertices, faces = egg()
    return vertices, faces, rasterize(vertices[None], faces, 224)


DRAWING, SPREADING = "drawing a head, 224 x 224", "interpolating 11 attributes, 224 x 224"


@group(DRAWING)
def test_slow_rasteriser(loop: Loop, head: Any) -> None:
    from slow_rasterizer import rasterize_slowly

    vertices, faces, fragments = head
    drawn = loop(
        "slow twin in numpy", lambda: rasterize_slowly(vertices, faces, 224), True, rounds=1
    )
    assert (drawn[0] == fragments.face[0]).mean() > 0.999


@group(DRAWING)
@pytest.mark.parametrize("threads", [1, 2])
def test_rasteriser(loop: Loop, head: Any, threads: int) -> None:
    from deca.rasterizer import rasterize

    vertices, faces, _ = head
    word = "thread" if threads == 1 else "threads"
    loop(f"rasterize, {threads} {word}", lambda: rasterize(vertices[None], faces, 224, threads))


@pytest.fixture(scope="module")
def attributes(head: Any) -> Any:
    return np.random.default_rng(0).normal(size=(1, len(head[0]), 11)).astype(np.float32)


def _gathered(head: Any, attributes: Any) -> Any:
    _, faces, fragments = head
    corners = attributes[0][faces[fragments.face[0]]]
    spread = (corners * fragments.barycentric[0][..., None]).sum(2)
    return np.where(fragments.coverage[0][..., None], spread, 0)


@group(SPREADING)
def test_gathering(loop: Loop, head: Any, attributes: Any) -> None:
    loop("gathering in numpy", lambda: _gathered(head, attributes), True)


@group(SPREADING)
def test_interpolation(loop: Loop, head: Any, attributes: Any) -> None:
    from deca.rasterizer import interpolate

    spread = loop("interpolate", lambda: interpolate(head[2], head[1], attributes))
    np.testing.assert_allclose(spread[0], _gathered(head, attributes), atol=1e-4)


# --- rig --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rig() -> Any:
    from deca.rig import load_rig

    return load_rig()


@pytest.fixture(scope="module")
def units(rig: Any) -> Any:
    """(500, U) activations that come and go."""
    from scipy.ndimage import gaussian_filter1d

    noise = np.random.default_rng(0).normal(size=(_TAKE, len(rig)))
    return np.clip(1.5 * gaussian_filter1d(noise, 4, axis=0), 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A picture of 1920 x 1080 with a face 500 pixels high: its frame and its performance."""
    import cv2

    from deca.fitting import fit
    from ned.commands.direct import track_actor
    from ned.core.film.clip import Clip

    path = tmp_path_factory.mktemp("face") / "face.png"
    cv2.imwrite(str(path), footage.portrait_frame((1920, 1080))[..., ::-1])
    clip = Clip.open(path, duration=0.2)
    return next(iter(clip.frames())), fit(track_actor(clip, 0))


@pytest.fixture(scope="module")
def take(rig: Any, units: Any, face: Any) -> Any:
    """500 frames of the portrait's face moved by the rig: its track."""
    from ned.core.face.track import Track

    _, still = face
    shapes = still.identity + rig.displacement(units)
    turned = shapes @ still.rotation[0].T * still.scale[0] * np.array([1, -1, -1], np.float32)
    landmarks = np.repeat(still.track.landmarks(0, 1), _TAKE, axis=0)
    centre = landmarks[0, :468].mean(0) - turned.mean((0, 1))
    landmarks[:, :468] = turned + centre
    track = Track.empty(_TAKE, still.track.size)
    track.times[:] = np.arange(_TAKE) / 25.0
    track.confidence[:] = 1
    for frame, points in enumerate(landmarks):
        track.set_landmarks(frame, points)
    return track


DISPLACING = f"displacement by the rig, {_FRAMES} frames"
FITTING = f"fitting the rig, {_TAKE} frames"


@group(DISPLACING)
def test_displacement_in_a_loop(loop: Loop, rig: Any, units: Any) -> None:
    def displace() -> Any:
        moved = np.zeros((_FRAMES, 468, 3), np.float32)
        for frame in range(_FRAMES):
            for unit, amount in enumerate(units[frame]):
                moved[frame] += amount * rig.basis[unit]
        return moved

    moved = loop("loop over frames and units in numpy", displace, True)
    np.testing.assert_allclose(moved, rig.displacement(units[:_FRAMES]), atol=1e-4)


@group(DISPLACING)
def test_displacement(loop: Loop, rig: Any, units: Any) -> None:
    loop("Rig.displacement", lambda: rig.displacement(units[:_FRAMES]))


@group(FITTING)
def test_least_squares_of_every_frame(loop: Loop, rig: Any, take: Any) -> None:
    from deca.fitting import fit, head_shapes

    performance = fit(take, rig)
    offsets = (head_shapes(performance, rig) - performance.identity).reshape(_TAKE, -1)
    basis = rig.basis.reshape(len(rig), -1).T

    def solve() -> Any:
        return [np.linalg.lstsq(basis, offset, rcond=None)[0] for offset in offsets]

    loop("numpy.linalg.lstsq of every frame, pose known, no signs", solve, True, rounds=3)


@group(FITTING)
def test_fit(loop: Loop, rig: Any, take: Any, units: Any) -> None:
    from deca.fitting import fit

    found = loop("fit: identity, pose, units and gaze", lambda: fit(take, rig), rounds=5)
    moved = rig.displacement(found.units[:5]) - rig.displacement(units[:5])
    assert np.abs(moved).mean() < 0.02  # of the interocular scale of the face


# --- directing --------------------------------------------------------------------------------

LOCKING, DIRECTING = f"speech lock, {_FRAMES} frames", f"directing, {_TAKE} frames"


@pytest.fixture(scope="module")
def lock(rig: Any) -> Any:
    from manipulator.speech_lock import SpeechLock

    return SpeechLock(rig)


@group(LOCKING)
def test_constrained_least_squares(loop: Loop, rig: Any, lock: Any, units: Any) -> None:
    flat = rig.basis.reshape(len(rig), -1).astype(np.float64)
    gram = flat @ flat.T
    gram += 1e-4 * np.trace(gram) / len(rig) * np.eye(len(rig))
    movable = lock.mouth & ~lock.jaw & (np.array(rig.names) != "face_lengthen")
    rows, inner = lock.functionals[:, movable], gram[np.ix_(movable, movable)]
    count, held = len(rows), len(inner)

    def solve() -> Any:
        locked = np.where(lock.jaw, 0, units[:_FRAMES]).astype(np.float64)
        for frame in locked:
            system = np.block([[inner, rows.T], [rows, np.zeros((count, count))]])
            right = np.concatenate([np.zeros(held), -lock.functionals @ frame])
            frame[movable] += np.linalg.lstsq(system, right, rcond=1e-9)[0][:held]
        return locked

    locked = loop("constrained least squares of every frame", solve, True, rounds=3)
    np.testing.assert_allclose(locked, lock.apply(units[:_FRAMES]), atol=2e-3)


@group(LOCKING)
def test_speech_lock(loop: Loop, lock: Any, units: Any) -> None:
    loop("SpeechLock.apply", lambda: lock.apply(units[:_FRAMES]))


@group(DIRECTING)
def test_projection_alone(loop: Loop, lock: Any, units: Any) -> None:
    loop("SpeechLock.apply alone", lambda: lock.apply(units), True)


@group(DIRECTING)
def test_directing(loop: Loop, rig: Any, take: Any) -> None:
    from deca.fitting import fit
    from manipulator.directing import direct_performance
    from manipulator.director import Direction
    from ned.core.script.timeline import Timeline

    performance = fit(take, rig)
    direction = Direction(timeline=Timeline.split(("happy",), _TAKE / 25, ("happy",)))
    found = loop("direct_performance", lambda: direct_performance(performance, direction, rig))
    assert np.abs(found.change).max() > 0.1


# --- rendering --------------------------------------------------------------------------------

RENDERING, FOLDING = "one face of 500 pixels, 1080p, one thread", "folds of one frame"


@pytest.fixture(scope="module")
def smile(rig: Any, face: Any) -> Any:
    """The portrait smiling: planes, edit, and change of units."""
    import cv2

    from manipulator.directing import direct_performance
    from manipulator.director import Direction
    from ned.core.script.timeline import Timeline
    from renderer.warp.renderer import FaceEdit
    from renderer.warp.shading import Shading

    cv2.setNumThreads(1)
    frame, still = face
    direction = Direction(timeline=Timeline.split(("happy",), 1.0, ("happy",)))
    change = direct_performance(still, direction, rig).change[0]
    moved = rig.displacement(change) @ still.rotation[0].T
    pixels = moved[:, :2] * np.array([1, -1], np.float32) * still.scale[0]
    shade = Shading(rig).texture(change)
    landmarks = still.track.landmarks(0, 1)[0]
    return frame.planes, FaceEdit(landmarks, still.rotation[0], pixels, shade), change


@group(RENDERING)
def test_remap_of_the_face(loop: Loop, smile: Any) -> None:
    import cv2

    planes, edit, _ = smile
    low, high = edit.landmarks[:468, :2].min(0), edit.landmarks[:468, :2].max(0)
    maps = []
    for plane in planes:
        scale = plane.shape[1] / planes[0].shape[1]
        (x0, y0), (x1, y1) = ((corner * scale).astype(int) for corner in (low, high))
        grid = np.meshgrid(np.arange(x0, x1) + 0.3, np.arange(y0, y1) + 0.3)
        maps.append([each.astype(np.float32) for each in grid])

    def remap() -> None:
        for plane, (x, y) in zip(planes, maps, strict=True):
            plane.copy()
            cv2.remap(plane, x, y, cv2.INTER_CUBIC)

    loop("copy of the planes, cv2.remap (cubic) of the face's box", remap, True)


@group(RENDERING)
def test_warp(loop: Loop, smile: Any) -> None:
    from renderer.warp.renderer import WarpRenderer

    planes, edit, _ = smile
    renderer = WarpRenderer()
    edited = loop("WarpRenderer.render", lambda: renderer.render(planes, [edit], 16, 128))
    assert not np.array_equal(edited[0], planes[0])


@group(FOLDING)
def test_folds_in_a_loop(loop: Loop, rig: Any, smile: Any) -> None:
    from renderer.warp.shading import Shading

    folds, change = Shading(rig), smile[2]

    def add() -> Any:
        total = np.zeros(folds.frame.shape, np.float32)
        for column, texture in zip(folds.columns, folds.textures, strict=True):
            total += change[column] * (0.5 if change[column] < 0 else 1.0) * texture
        darkest, lightest = folds.limits
        limit = np.where(total < 0, np.float32(darkest), np.float32(lightest))
        return limit * np.tanh(total / limit)

    np.testing.assert_allclose(
        loop("loop over all units in numpy", add, True), folds.texture(change), atol=1e-3
    )


@group(FOLDING)
def test_folds(loop: Loop, rig: Any, smile: Any) -> None:
    from renderer.warp.shading import Shading

    folds, change = Shading(rig), smile[2]
    loop("Shading.texture", lambda: folds.texture(change))


# --- evaluation -------------------------------------------------------------------------------

CROPPING = "a classifier's input from a 1080p frame"
DRAWING_AGAIN = "interval of a correlation, 250 frames, 1,000 draws"


@group(CROPPING)
def test_whole_frame_resized(loop: Loop, face: Any) -> None:
    import cv2

    image = face[0].rgb()

    def shrink() -> Any:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        return cv2.resize(grey, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)

    loop("the whole frame made grey and small", shrink, True)


@group(CROPPING)
def test_crop(loop: Loop, face: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    import onnx_writer

    from ned.evaluation.classifier import load_classifier

    weight = np.random.default_rng(0).normal(size=(64 * 64, 2))
    network = onnx_writer.linear(("n", 1, 64, 64), weight, np.zeros(2))
    (tmp_path / "made_up.onnx").write_bytes(network)
    text = "file: made_up.onnx\nsize: 64\ncolour: grey\nlabels: [happy, sad]\nsoftmax: true\n"
    (tmp_path / "made_up.yaml").write_text(text, encoding="utf-8")
    classifier = load_classifier(tmp_path / "made_up.yaml", threads=1)
    image, points = face[0].rgb(), face[1].track.landmarks(0, 1)[0, :, :2]
    crop = loop("Classifier.crop", lambda: classifier.crop(image, points))
    assert crop.shape == (1, 64, 64)


@pytest.fixture(scope="module")
def pairs() -> Any:
    noise = np.random.default_rng(0).normal(size=(250, 2))
    return np.cumsum(noise, axis=0) * (1, 0.2) + (0, 1) * np.cumsum(noise, axis=0)[:, :1]


@group(DRAWING_AGAIN)
def test_interval_in_a_loop(loop: Loop, pairs: Any) -> None:
    def draw() -> Any:
        generator, found = np.random.default_rng(0), []
        for _ in range(1000):
            starts = generator.integers(len(pairs), size=(-(-len(pairs) // 12), 1))
            rows = pairs[(starts + np.arange(12)).ravel()[: len(pairs)] % len(pairs)]
            found.append(np.corrcoef(rows.T)[0, 1])
        return np.quantile(found, [0.025, 0.975])

    loop("loop over draws in numpy", draw, True, rounds=3)


@group(DRAWING_AGAIN)
def test_interval(loop: Loop, pairs: Any) -> None:
    from ned.evaluation.bootstrap import correlation, interval

    low, high = loop("interval", lambda: interval(pairs, correlation, block=12))
    assert -1 <= low < np.corrcoef(pairs.T)[0, 1] < high <= 1


# --- FLAME ------------------------------------------------------------------------------------

DECODING = "decoding 16 FLAME heads"


@pytest.fixture(scope="module")
def flame(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A made-up FLAME, and codes of 16 heads."""
    torch = pytest.importorskip("torch")
    from flame_files import write_flame_files

    from deca.flame import load_flame

    folder = tmp_path_factory.mktemp("flame")
    try:
        files = write_flame_files(folder, "full")
    except pytest.skip.Exception:
        files = write_flame_files(folder)
    codes = torch.randn(16, 156, generator=torch.Generator().manual_seed(0))
    model = load_flame(files.flame, files.landmarks)
    return model, (codes[:, :100], codes[:, 100:150], 0.2 * codes[:, 150:])


@group(DECODING)
def test_blend_shapes_alone(loop: Loop, flame: Any) -> None:
    model, (shape, expression, _) = flame
    template = model.template.numpy()
    bases = np.concatenate([model.identity.numpy()[:100], model.expression.numpy()[:50]])
    codes = np.concatenate([shape.numpy(), expression.numpy()], axis=1)

    def blend() -> Any:
        return template + (codes @ bases).reshape(len(codes), -1, 3)

    loop(f"blend shapes alone in numpy, {len(template):,} vertices", blend, True)


@group(DECODING)
def test_flame(loop: Loop, flame: Any) -> None:
    import torch

    model, codes = flame
    torch.set_num_threads(1)  # more of them wait for each other where cores are shared
    with torch.inference_mode():
        mesh = loop("Flame: blend, pose, skin, landmarks, 1 thread", lambda: model(*codes))
    assert torch.isfinite(mesh.vertices).all()


# --- table ------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", help="words that the names of tests must contain (pytest -k)")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data = measure(options.quick, options.only)
    print(report(data))
    table.save(options.json, data)


def measure(quick: bool = False, only: str | None = None) -> dict[str, Any]:
    """Seconds of every loop and baseline; ends the script if one of them fails."""
    machine = table.machine()
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "benchmark.json"
        flags = [f"--benchmark-json={found}", "-q", "-p", "no:cacheprovider"]
        flags += ["--import-mode=importlib"]  # prepending this folder would hide rooms of its names
        flags += [f"--benchmark-max-time={0.1 if quick else 1.0}", "--benchmark-min-rounds=3"]
        flags += ["-k", only] if only else []
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            code = pytest.main([__file__, *flags])
        if code:
            sys.exit(f"the inner loops failed:\n{said.getvalue()[-4000:]}")
        benchmarks = json.loads(found.read_text(encoding="utf-8"))["benchmarks"]
    rows = [
        {
            "group": each["group"],
            **each["extra_info"],
            "best": each["stats"]["min"],
            "median": each["stats"]["median"],
            "rounds": each["stats"]["rounds"],
        }
        for each in benchmarks
    ]
    return {"machine": machine, "rows": rows}


def report(data: dict[str, Any]) -> str:
    """The numbers as Markdown, a row per loop with the baseline of its group first."""
    rows = []
    for name in dict.fromkeys(row["group"] for row in data["rows"]):
        own = sorted((r for r in data["rows"] if r["group"] == name), key=lambda r: -r["baseline"])
        base = own[0]["best"] if own[0]["baseline"] else None
        for row in own:
            label = f"baseline: {row['label']}" if row["baseline"] else row["label"]
            times = 1000 * row["best"], 1000 * row["median"]
            rows.append([name, label, *times, row["rounds"], base and base / row["best"]])
    headings = ("work", "how", "best ms", "median ms", "rounds", "times as fast")
    return f"### Inner loops ({data['machine']})\n\n{table.markdown(headings, rows)}"


if __name__ == "__main__":
    main()
