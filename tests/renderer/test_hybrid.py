"""The hybrid renderer: crops, memory, network, training, and drawing into frames."""

from __future__ import annotations

import dataclasses
import itertools
import json
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import write_talking_clip
from numpy.typing import NDArray
from safetensors.numpy import save as save_tensors

from deca.fitting import fit
from deca.rig import Rig, load_rig
from ned.cli import main
from ned.commands.direct import track_actor
from ned.core.errors import AssetError, InputError, OutputError
from ned.core.face.performance import Performance
from ned.core.film.clip import Clip, Frame
from ned.core.training_loop import Interrupted
from preprocessing.identity import identity_in
from renderer.export import export_hybrid
from renderer.hybrid import training
from renderer.hybrid.examples import Batch, Examples
from renderer.hybrid.face_crops import FaceCrops, centred
from renderer.hybrid.footage import SEEN, Footage
from renderer.hybrid.memory import ExpressionDescriptors, Memory, chosen
from renderer.hybrid.network import FORMAT, HybridNetwork, HybridShape, load_network, save_network
from renderer.hybrid.reenactment import reenact, sources
from renderer.hybrid.renderer import MEMORY, NETWORK, HybridRenderer
from renderer.hybrid.training import STATE, HybridSettings, HybridTraining, detail_loss
from renderer.rendering import open_renderer, rendered
from renderer.strength import edit_strength

COUNT, SIZE = 30, 64
SMALL = HybridShape(SIZE, (8, 8, 8), (1, 1, 1))
CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def rig() -> Rig:
    return load_rig()


@pytest.fixture(scope="module")
def clip(portrait: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Clip:
    path = tmp_path_factory.mktemp("hybrid") / "talk.mp4"
    write_talking_clip(path, portrait, COUNT / 25, (322, 310))
    return Clip.open(path)


@pytest.fixture(scope="module")
def performance(clip: Clip, rig: Rig) -> Performance:
    return fit(track_actor(clip, 0), rig)


@pytest.fixture(scope="module")
def pictures(clip: Clip) -> list[tuple[int, NDArray[np.uint8]]]:
    return [(frame.index, frame.rgb()) for frame in clip.frames()]


@pytest.fixture(scope="module")
def footage(
    performance: Performance, pictures: list[tuple[int, NDArray[np.uint8]]], rig: Rig
) -> Footage:
    return Footage.of([(performance, pictures)], rig, SIZE)


@pytest.fixture(scope="module")
def memory(footage: Footage) -> Memory:
    return footage.memory(chosen(footage.descriptors))


def settings(**changes: Any) -> HybridSettings:
    return dataclasses.replace(HybridSettings(SMALL, batch=2, held_out=0.2), **changes)


def training_of(footage: Footage, rig: Rig, folder: Path, **changes: Any) -> HybridTraining:
    folder.mkdir(exist_ok=True)
    return HybridTraining(footage, rig, folder, settings(**changes), CPU, False, {"seed": 0})


def randomised(shape: HybridShape = SMALL) -> HybridNetwork:
    torch.manual_seed(1)
    network = HybridNetwork(shape)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return network


def directed(performance: Performance, rig: Rig) -> Performance:
    change = np.zeros_like(performance.units)
    change[:, list(rig.columns("corner_pull"))] = 0.6
    return dataclasses.replace(performance, directed=performance.units + change)


def seen(count: int = 2, size: int = SIZE) -> torch.Tensor:
    torch.manual_seed(0)
    given = torch.rand(count, SEEN, size, size)
    given[:, :3] = given[:, :3] * 2 - 1
    given[:, 7] = 0
    given[:, 7, 10:-10, 10:-10] = 1
    return given


class TestFaceCrops:
    def test_landmarks_lie_where_the_picture_shows_them(
        self, performance: Performance, pictures: list[tuple[int, NDArray[np.uint8]]]
    ) -> None:
        crops = FaceCrops.of(performance, 128)
        dot = np.zeros_like(pictures[3][1])
        x, y = performance.track.landmarks(3, 4)[0, 1, :2]
        dot[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3] = 255
        spot = crops.cut(dot, 3)[..., 0].astype(float)
        rows, columns = np.mgrid[:128, :128] + 0.5
        found = np.array([(spot * columns).sum(), (spot * rows).sum()]) / spot.sum()
        np.testing.assert_allclose(found, crops.landmarks[3, 1, :2], atol=1.0)

    def test_the_face_is_upright_and_fills_the_crop(self, performance: Performance) -> None:
        crops = FaceCrops.of(performance, 100)
        eyes = crops.landmarks[:, 263, :2] - crops.landmarks[:, 33, :2]
        assert np.abs(np.degrees(np.arctan2(eyes[:, 1], eyes[:, 0]))).max() < 4
        assert crops.landmarks[:, :468, :2].min() > 2
        assert crops.landmarks[:, :468, :2].max() < 98
        assert 55 < np.ptp(crops.landmarks[:, :468, 1], axis=1).mean() < 90

    def test_an_opened_jaw_does_not_move_the_crop(self, performance: Performance) -> None:
        calm = FaceCrops.of(performance, 100).crop_from_image
        units = performance.units + 1
        moved = FaceCrops.of(dataclasses.replace(performance, units=units), 100).crop_from_image
        np.testing.assert_array_equal(calm, moved)

    def test_pixel_centres(self) -> None:
        doubled = np.array([[2.0, 0, 0], [0, 2.0, 0]])
        # the centre of the first pixel, 0.5, comes to 1, between the centres of the first two
        np.testing.assert_allclose(centred(doubled)[:, 2], [0.5, 0.5])


class TestMemory:
    def test_farthest_points_keep_the_extremes(self) -> None:
        mouth = np.zeros((50, 3), np.float32)
        mouth[:, 0] = 0.001 * np.arange(50)
        mouth[17, 0] = 5
        descriptors = ExpressionDescriptors(
            mouth, np.zeros((50, 1), np.float32), np.tile(np.eye(3, dtype=np.float32), (50, 1, 1))
        )
        rows = chosen(descriptors, 4)
        assert len(rows) == 4
        assert {0, 17, 49} <= set(rows.tolist())
        assert chosen(descriptors, 60).tolist() == list(range(50))

    def test_what_is_recalled_is_alike_and_calm(self, memory: Memory, footage: Footage) -> None:
        recalled = memory.recall(footage.descriptors)
        cost = footage.descriptors.distances(memory.descriptors)[0]
        for row, (mouth, upper) in enumerate(recalled):
            for part in (mouth, upper):
                assert sum(share for _, share in part) == pytest.approx(1)
            best = max(mouth, key=lambda pair: pair[1])[0]
            assert cost[row, best] <= cost[row].min() + 0.2
        leading = [max(mouth, key=lambda pair: pair[1])[0] for mouth, _ in recalled]
        changes = sum(a != b for a, b in itertools.pairwise(leading))
        assert changes < len(recalled) / 2  # each frame has itself in the memory

    def test_a_frame_moved_onto_itself_is_itself(self, memory: Memory) -> None:
        from renderer.warp.renderer import WarpRenderer

        own = [(4, 1.0)]
        made = memory.picture(
            (own, own), memory.landmarks[4], memory.descriptors.rotation[4], WarpRenderer()
        )
        assert np.abs(made[..., :3].astype(int) - memory.pictures[4]).max() <= 1
        assert made[..., 3].max() == 0  # nothing has come from anywhere else

    def test_saved_and_loaded(self, memory: Memory, tmp_path: Path) -> None:
        memory.save(tmp_path / "m.safetensors")
        loaded = Memory.load(tmp_path / "m.safetensors")
        np.testing.assert_array_equal(loaded.pictures, memory.pictures)
        np.testing.assert_array_equal(loaded.descriptors.mouth, memory.descriptors.mouth)

    @pytest.mark.parametrize("content", [b"", b"nonsense"])
    def test_other_files_are_refused(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "m.safetensors").write_bytes(content)
        with pytest.raises(InputError, match="missing or damaged"):
            Memory.load(tmp_path / "m.safetensors")

    def test_other_shapes_are_refused(self, memory: Memory, tmp_path: Path) -> None:
        dataclasses.replace(memory, landmarks=memory.landmarks[:3]).save(tmp_path / "m")
        with pytest.raises(InputError, match="train again"):
            Memory.load(tmp_path / "m")


class TestNetwork:
    def test_it_begins_as_the_warp(self) -> None:
        given = seen()
        np.testing.assert_array_equal(HybridNetwork(SMALL)(given).detach(), given[:, :3])

    def test_nothing_changes_off_the_mask(self) -> None:
        given = seen()
        made = randomised()(given).detach()
        apart = (made - given[:, :3]).abs().amax((0, 1))
        assert apart[32, 32] > 0
        assert float(apart[:10].max()) == 0
        assert float(apart[:, -10:].max()) == 0

    def test_it_is_small(self) -> None:
        assert sum(weight.numel() for weight in HybridNetwork().parameters()) <= 5_000_000

    def test_saved_and_loaded(self, tmp_path: Path) -> None:
        network = randomised()
        save_network(network, tmp_path / "n.safetensors", {"steps": 3})
        loaded, record = load_network(tmp_path / "n.safetensors")
        assert record == {"steps": 3}
        assert torch.equal(loaded(seen()), network(seen()))

    def test_weights_of_another_size_are_refused(self, tmp_path: Path) -> None:
        from safetensors.torch import load_file, save_file

        save_network(randomised(), tmp_path / "n", {})
        weights = load_file(tmp_path / "n")
        weights.pop("enter.weight")
        header = {"format": "ned-hybrid-1", "record": "{}"}
        header["shape"] = json.dumps({"size": 64, "widths": [8, 8, 8], "blocks": [1, 1, 1]})
        save_file(weights, tmp_path / "other", header)
        with pytest.raises(AssetError, match=r"enter\.weight"):
            load_network(tmp_path / "other")

    @pytest.mark.parametrize("size", [40, 8])
    def test_sizes_that_do_not_halve_are_refused(self, size: int) -> None:
        with pytest.raises(InputError, match="multiple of"):
            HybridShape(size)

    def test_onnx_computes_the_same(self, tmp_path: Path) -> None:
        pytest.importorskip("onnx")
        assert export_hybrid(randomised(), tmp_path / "hybrid.onnx") < 1e-3
        assert (tmp_path / "hybrid.onnx").is_file()


class TestLoss:
    def test_equal_pictures_cost_nothing(self) -> None:
        picture = torch.rand(1, 3, 16, 16)
        assert float(detail_loss(picture, picture, torch.ones(1, 1, 16, 16))) == 0

    def test_blur_costs_more_than_a_shift_of_level(self) -> None:
        wanted = torch.zeros(1, 3, 32, 32)
        wanted[..., ::2] = 0.2
        even = torch.full_like(wanted, 0.1)
        weight = torch.ones(1, 1, 32, 32)
        assert detail_loss(even, wanted, weight) > 2 * detail_loss(wanted + 0.1, wanted, weight)

    def test_only_weighted_pixels_count(self) -> None:
        wanted, made = torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)
        made[..., :4] = 1
        weight = torch.zeros(1, 1, 16, 16)
        weight[..., 12:] = 1
        assert float(detail_loss(made, wanted, weight)) == 0


class TestExamples:
    def test_they_repeat_and_differ(self, footage: Footage, rig: Rig) -> None:
        examples = Examples(footage, rig, 3)
        one, same, other = examples.batch(5, 2), examples.batch(5, 2), examples.batch(6, 2)
        np.testing.assert_array_equal(one.seen, same.seen)
        assert np.abs(one.seen - other.seen).max() > 0.1
        assert one.seen.shape == (2, SEEN, SIZE, SIZE)
        assert -1 <= one.wanted.min() < one.wanted.max() <= 1.5

    def test_nothing_is_remembered_of_the_same_moment(self, footage: Footage, rig: Rig) -> None:
        # a take in which everything is alike: only time tells frames apart
        times = np.arange(len(footage)) / 5.0
        examples = Examples(dataclasses.replace(footage, time=times), rig)
        kept = chosen(footage.descriptors)
        for half in (0, 1):
            for row, nearest in enumerate(examples._nearest[half]):
                assert abs(times[row] - times[kept[nearest]]) >= 1


class TestTraining:
    def test_it_learns(
        self, footage: Footage, rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same examples again and again come out nearer to what was filmed."""
        trained = training_of(footage, rig, tmp_path, rate=3e-3, average=0.8)
        batch = trained.examples.batch(0, 2)
        monkeypatch.setattr(trained.examples, "batch", lambda *_: batch)
        seen, wanted = torch.from_numpy(batch.seen), torch.from_numpy(batch.wanted)
        weight = seen[:, 7:8] * (1 + 4 * torch.from_numpy(batch.mouth))

        def loss() -> float:
            return float(detail_loss(trained.averaged(seen), wanted, weight))

        before = loss()
        assert trained.run(10, 100) == "all steps are done"
        assert loss() < 0.9 * before
        assert (tmp_path / "web" / "index.html").is_file()

    def test_the_weights_that_draw_best_are_kept(
        self, footage: Footage, rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trained = training_of(footage, rig, tmp_path)
        scores = iter([30.0, 30.0, 20.0, 20.0])  # each look asks twice
        monkeypatch.setattr(training, "_psnr", lambda *_, **__: next(scores))
        trained.measure()
        with torch.no_grad():
            for weight in trained.averaged.parameters():
                weight.add_(1)
        trained.measure()
        trained.save()
        saved = load_network(tmp_path / NETWORK)[0]
        for kept, later in zip(saved.parameters(), trained.averaged.parameters(), strict=True):
            torch.testing.assert_close(kept + 1, later)
        again = training_of(footage, rig, tmp_path)
        assert again.resume() and again.best is not None
        assert again.best[0] == 30

    def test_a_resumed_run_is_an_unbroken_one(
        self, footage: Footage, rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = training_of(footage, rig, tmp_path / "whole")
        whole.run(1e4, 6)
        first = training_of(footage, rig, tmp_path / "broken")

        learn = first._learn

        def stopped(batch: Batch, share: float) -> None:
            learn(batch, share)
            if first.step == 3:
                signal.raise_signal(signal.SIGINT)

        with monkeypatch.context() as patch, pytest.raises(Interrupted):
            patch.setattr(first, "_learn", stopped)
            first.run(1e4, 6)
        second = training_of(footage, rig, tmp_path / "broken")
        assert second.resume()
        second.run(1e4, 6)
        for folder in ("whole", "broken"):
            assert (tmp_path / folder / NETWORK).is_file()
        one, other = (load_network(tmp_path / f / NETWORK)[0] for f in ("whole", "broken"))
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)

    def test_an_interrupt_saves(self, footage: Footage, rig: Rig, tmp_path: Path) -> None:
        running = training_of(footage, rig, tmp_path)
        timer = threading.Timer(0.5, signal.raise_signal, (signal.SIGINT,))
        timer.start()
        with pytest.raises(Interrupted, match="the same command goes on"):
            running.run(10, None)
        again = training_of(footage, rig, tmp_path)
        assert again.resume()
        assert again.step == running.step > 0

    def test_a_full_disk_keeps_the_model_before(
        self, footage: Footage, rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trained = training_of(footage, rig, tmp_path)
        trained.run(10, 2)
        before = {name: (tmp_path / name).read_bytes() for name in (NETWORK, MEMORY, STATE)}

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            trained.save()
        assert before == {name: (tmp_path / name).read_bytes() for name in before}

    def test_other_footage_does_not_go_on(self, footage: Footage, rig: Rig, tmp_path: Path) -> None:
        training_of(footage, rig, tmp_path).run(10, 1)
        with pytest.raises(InputError, match="--restart"):
            training_of(footage[:-4], rig, tmp_path).resume()
        (tmp_path / STATE).write_bytes(b"broken")
        with pytest.raises(InputError):
            training_of(footage, rig, tmp_path).resume()

    def test_held_out_frames_are_not_learnt_from(self, footage: Footage) -> None:
        training, testing = footage.divided(0.25)
        assert len(testing) == len(footage) // 4
        assert training.frame.max() < testing.frame.min()
        assert footage.divided(0)[1].frame.size == 0

    def test_too_little_footage(
        self, performance: Performance, pictures: list[Any], rig: Rig
    ) -> None:
        track = dataclasses.replace(
            performance.track,
            confidence=np.where(np.arange(COUNT) < 5, performance.track.confidence, 0),
        )
        with pytest.raises(InputError, match=r"5 frames .* 24 or more are needed"):
            Footage.of([(dataclasses.replace(performance, track=track), pictures)], rig, SIZE)


class TestReenactment:
    def test_sources_are_apart(self, footage: Footage) -> None:
        targets = np.arange(len(footage))
        others = sources(footage, targets)
        assert (np.abs(footage.time[others] - footage.time[targets]) >= 0.4 - 1e-9).all()

    def test_without_a_network_it_is_the_warp(self, footage: Footage, memory: Memory) -> None:
        rows, others = np.array([1, 9]), np.array([20, 25])
        plain = list(reenact(footage, rows, others))
        renderer = HybridRenderer(HybridNetwork(SMALL), memory)
        same = list(reenact(footage, rows, others, memory, renderer))
        for one, other in zip(plain, same, strict=True):
            np.testing.assert_array_equal(one.drawn, one.warped)
            np.testing.assert_array_equal(other.drawn, one.warped)


class TestDrawing:
    @pytest.fixture
    def model(self, memory: Memory, tmp_path: Path) -> Path:
        save_network(randomised(), tmp_path / NETWORK, {})
        memory.save(tmp_path / MEMORY)
        return tmp_path

    def frames(
        self, clip: Clip, performance: Performance, rig: Rig, name: str, model: Path | None = None
    ) -> list[tuple[Frame, Frame]]:
        strength = edit_strength(performance)
        renderer = open_renderer(name, model)
        return list(rendered(clip, performance, strength, rig, 1.0, renderer))

    def test_first_weights_draw_what_the_warp_draws(
        self, clip: Clip, performance: Performance, rig: Rig, memory: Memory, tmp_path: Path
    ) -> None:
        save_network(HybridNetwork(SMALL), tmp_path / NETWORK, {})
        memory.save(tmp_path / MEMORY)
        wanted = directed(performance, rig)
        warped = self.frames(clip, wanted, rig, "warp")
        drawn = self.frames(clip, wanted, rig, "hybrid", tmp_path)
        for (_, one), (_, other) in zip(warped, drawn, strict=True):
            for plane, same in zip(one.planes, other.planes, strict=True):
                np.testing.assert_array_equal(plane, same)

    def test_only_the_face_changes(
        self, clip: Clip, performance: Performance, rig: Rig, model: Path
    ) -> None:
        wanted = directed(performance, rig)
        warped = self.frames(clip, wanted, rig, "warp")
        drawn = self.frames(clip, wanted, rig, "hybrid", model)
        apart = np.abs(drawn[9][1].planes[0].astype(int) - warped[9][1].planes[0])
        assert apart.max() > 3
        oval = performance.track.landmarks(9, 10)[0, :468, :2]
        rows, columns = np.nonzero(apart)
        assert columns.min() >= oval[:, 0].min() - 8
        assert columns.max() <= oval[:, 0].max() + 8
        assert rows.max() <= oval[:, 1].max() + 8

    def test_no_edit_is_the_frame_itself(
        self, clip: Clip, performance: Performance, rig: Rig, model: Path
    ) -> None:
        still = dataclasses.replace(performance, directed=performance.units.copy())
        for before, after in self.frames(clip, still, rig, "hybrid", model):
            assert before is after

    def test_damaged_and_foreign_models(
        self, model: Path, tmp_path: Path, clip: Clip, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["direct", str(clip.path), "--emotion", "happy", "--renderer", "hybrid"]
        (model / MEMORY).write_bytes(b"nonsense")
        output = ["-o", str(tmp_path / "out.mp4")]
        assert main([*words, "--actor-model", str(model), *output]) == 1
        assert "missing or damaged" in capsys.readouterr().err
        (model / NETWORK).unlink()
        assert main([*words, "--actor-model", str(model), *output]) == 1
        assert f"holds no {NETWORK}" in capsys.readouterr().err
        assert not (tmp_path / "out.mp4").exists()

    def test_memory_of_another_size(self, model: Path) -> None:
        save_network(HybridNetwork(HybridShape(128, (8, 8, 8), (1, 1, 1))), model / NETWORK, {})
        with pytest.raises(InputError, match="different models"):
            HybridRenderer.load(model)


class TestCommand:
    def test_trained_from_a_clip_and_used(
        self, clip: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = tmp_path / "model"
        words = [str(clip.path), "-o", str(folder), "--steps", "1", "--size", "64"]
        assert main(["train-hybrid", *words, "--held-out", "0.2", "--precision", "float32"]) == 0
        said = capsys.readouterr().out
        assert "1 steps (1 of them now)" in said
        assert "PSNR inside the face" in said
        assert main(["train-hybrid", *words, "--held-out", "0.2", "--precision", "float32"]) == 0
        assert "1 steps (0 of them now)" in capsys.readouterr().out
        result = tmp_path / "happy.mp4"
        direct = ["direct", str(clip.path), "--emotion", "happy", "-o", str(result)]
        assert main([*direct, "--renderer", "hybrid", "--actor-model", str(folder)]) == 0
        assert result.is_file()

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--minutes", "0"], "--minutes is 0"),
            (["--size", "100"], "--size is 100"),
            (["--held-out", "2"], "--held-out is 2"),
            (["--steps", "0"], "--steps is 0"),
        ],
    )
    def test_bad_values(
        self, words: list[str], said: str, clip: Clip, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["train-hybrid", str(clip.path), *words]) == 1
        assert said in capsys.readouterr().err

    def test_a_folder_without_videos(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["train-hybrid", str(tmp_path), "-o", str(tmp_path / "model")]) == 1
        assert "holds no videos" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        {"blocks": [1_000_000, 1, 1, 1]},
        {"blocks": [1] * 100_000, "widths": [1] * 100_000},
        {"widths": [10**9, 1, 1, 1]},
        {"widths": [1.5, 2, 3, 4]},
        {"widths": {"a": 1}},
        {"size": 1 << 40},
        {"size": float("nan")},
    ],
)
def test_headers_are_not_believed(change: dict[str, object], tmp_path: Path) -> None:
    shape = {"size": 256, "widths": [32, 48, 64, 96], "blocks": [1, 1, 1, 2]} | change
    path = tmp_path / "hybrid.safetensors"
    header = {"format": FORMAT, "shape": json.dumps(shape), "record": "{}"}
    path.write_bytes(save_tensors({"x": np.zeros(1, np.float32)}, header))
    with pytest.raises(InputError) as caught:
        load_network(path)
    assert len(str(caught.value)) < 300 + len(str(path))


def test_a_model_of_another_actor_is_told(
    talking_clip: Path, performance: Performance, caplog: pytest.LogCaptureFixture
) -> None:
    clip = Clip.open(talking_clip)
    own = identity_in(clip, performance.track).numbers()
    other = {**own, "portrait": [-value for value in own["portrait"]]}
    for identity, told in ((own, False), (other, True), (None, False)):
        renderer = HybridRenderer.__new__(HybridRenderer)
        renderer.record = {} if identity is None else {"identity": identity}
        caplog.clear()
        renderer._compare(clip, performance)
        assert ("trained on" in caplog.text) == told
