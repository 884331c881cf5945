"""The neural renderer's networks, losses and pictures: golden vectors, files, every frame drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import Golden
from numpy.typing import NDArray
from renderer_files import eye_points, write_actor
from torch import Tensor

from ned.core.errors import AssetError, InputError, NedError
from ned.core.files.actor import Actor
from ned.core.film.image_files import read_image, write_image
from renderer.neural.checkpoints import epochs_in, find_generator, write_record
from renderer.neural.dataset import Faces, mouth_corner, sequences
from renderer.neural.inference import NeuralRenderer, as_bytes
from renderer.neural.losses import (
    PerceptualLoss,
    adversarial_loss,
    feature_loss,
    fooling_loss,
    structure_loss,
)
from renderer.neural.networks import (
    Discriminator,
    Generator,
    initialise,
    load_discriminator,
    load_generator,
)
from renderer.neural.settings import TrainingSettings
from renderer.neural.trainer import Chunk, Trainer, as_picture

NETS, DATA = "renderer_nets.npz", "renderer_data.npz"
INFERENCE, TRAIN = "renderer_inference.npz", "renderer_train.npz"
KINDS = (torch.float32, torch.float64)


pytestmark = pytest.mark.usefixtures("one_thread")


def frames(golden: Golden, file: str, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """Conditioning (T, 10, S, S) and filmed faces (T, 3, S, S) of a golden file."""
    levels = {
        name: torch.from_numpy(golden[file][f"u8_{name}"])
        for name in ("nmfc", "eye", "shape", "mask", "rgb")
    }
    drawn = [levels[name].float() / 255 for name in ("nmfc", "eye", "shape")]
    conditioning = torch.cat([*drawn, (levels["mask"] > 0).float()], dim=1)
    return conditioning.to(kind), as_picture(levels["rgb"]).to(kind)


def generator_of(golden: Golden, kind: torch.dtype = torch.float32) -> Generator:
    generator = Generator(8)
    golden.fill(generator, "G/")
    return generator.to(kind)


def discriminator_of(golden: Golden, kind: torch.dtype, scope: str = "D/") -> Discriminator:
    discriminator = Discriminator(8)
    golden.fill(discriminator, scope)
    return discriminator.to(kind)


def windows(conditioning: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """The two windows and histories that the golden pictures were drawn from."""
    seen = torch.stack([conditioning[0:3].flatten(0, 1), conditioning[3:6].flatten(0, 1)])
    return seen, torch.stack([faces[0:2].flatten(0, 1), faces[1:3].flatten(0, 1)])


@pytest.mark.parametrize("width", [8, 64])
def test_names_and_shapes_are_the_published_ones(golden: Golden, width: int) -> None:
    keys = golden.json("keys_renderer.json")
    with torch.device("meta"):
        networks = {f"G_ngf{width}": Generator(width), f"D_ndf{width}": Discriminator(width)}
    for name, network in networks.items():
        own = {
            key: [list(value.shape), str(value.dtype).removeprefix("torch.")]
            for key, value in network.state_dict().items()
        }
        assert own == keys[name]


def test_golden_pictures(golden: Golden) -> None:
    generator = generator_of(golden).eval()
    seen, previous = windows(*frames(golden, NETS, torch.float32))
    with torch.no_grad():
        golden.check(NETS, "G_out", generator(seen, previous))
        blank = torch.zeros_like(previous)
        golden.check(NETS, "G_out_zero_prev", generator(seen, blank))
        assert torch.equal(
            generator.draw(generator.encode_conditioning(seen), seen, None), generator(seen, blank)
        )
        exact = generator.double()(seen.double(), previous.double())
        golden.check(NETS, "G_out_f64_item0", exact[0])


def test_running_statistics_follow_in_training_alone(golden: Golden) -> None:
    generator = generator_of(golden)
    seen, previous = windows(*frames(golden, NETS, torch.float32))
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    with torch.no_grad():
        drawn = generator.eval()(seen[:1], previous[:1])
        assert all(torch.equal(value, before[k]) for k, value in generator.state_dict().items())
        torch.testing.assert_close(generator.train()(seen[:1], previous[:1]), drawn)
    after = generator.state_dict()
    golden.check(NETS, "G_running_mean_after_1_call", after["model_down_seg.2.running_mean"])


@pytest.mark.parametrize("kind", KINDS)
def test_golden_judgements_and_losses(golden: Golden, kind: torch.dtype) -> None:
    suffix = "_f64" if kind == torch.float64 else ""
    conditioning, faces = frames(golden, NETS, kind)
    judge = discriminator_of(golden, kind)
    with torch.no_grad():
        drawn = generator_of(golden, kind).eval()(*windows(conditioning, faces))
        judged = judge(conditioning[2:4], faces[2:4])
        for scale in range(2):
            golden.check(NETS, f"D_scale{scale}_pred{suffix}", judged[scale][-1])
            for layer in (0, 3):
                name = f"D_scale{scale}_feat{layer}"
                channels = golden[NETS][name].shape[1]
                if not suffix:
                    golden.check(NETS, name, judged[scale][layer][:1, :channels])
        shapes = np.array([[list(layer.shape) for layer in scale] for scale in judged])
        golden.check(NETS, "D_feature_shapes", shapes)
        real, fake = (judge(conditioning[[2, 5]], one) for one in (faces[[2, 5]], drawn))
        for name, how in (("D_losses", "ls"), ("D_losses_hinge", "hinge")):
            if how == "hinge" and suffix:
                continue
            losses = [
                adversarial_loss(real, True, how),  # type: ignore[arg-type]
                adversarial_loss(fake, False, how),  # type: ignore[arg-type]
                fooling_loss(fake, how),  # type: ignore[arg-type]
                10 * feature_loss(fake, real),
            ]
            golden.check(NETS, name + (suffix if how == "ls" else ""), torch.stack(losses))


def test_golden_perceptual_loss(golden: Golden, tmp_path: Path) -> None:
    network = PerceptualLoss()
    golden.fill(network, "vgg19/")
    torch.save({**network.state_dict(), "classifier.0.bias": torch.zeros(4096)}, tmp_path / "v.pth")
    for kind in KINDS:
        suffix = "_f64" if kind == torch.float64 else ""
        conditioning, faces = frames(golden, NETS, kind)
        with torch.no_grad():
            drawn = generator_of(golden, kind).eval()(*windows(conditioning, faces))
            loaded = PerceptualLoss.load(tmp_path / "v.pth").to(kind)
            golden.check(NETS, f"VGG_loss{suffix}", loaded(drawn[:1], faces[2:3]))
            means = [layer.mean() for layer in loaded.layers(faces[2:3])]
            golden.check(NETS, f"VGG_relu_means{suffix}", torch.stack(means))


def test_golden_clip(golden: Golden) -> None:
    generator = generator_of(golden)
    conditioning, _ = frames(golden, INFERENCE, torch.float32)
    drawn = list(NeuralRenderer(generator).draw(conditioning, lead=0))
    golden.check(INFERENCE, "frames", torch.stack(drawn))
    golden.check(INFERENCE, "frames_u8", np.stack([as_bytes(picture) for picture in drawn]))
    exact = NeuralRenderer(generator.double()).draw(conditioning.double(), lead=0)
    golden.check(INFERENCE, "frames_f64_last", list(exact)[-1])


def test_golden_bytes(golden: Golden) -> None:
    values = torch.from_numpy(golden[DATA]["tensor2im_in"])
    golden.check(DATA, "tensor2im_out", as_bytes(values))
    golden.check(DATA, "tensor2im_out_nonorm", as_bytes(values, low=0.0))


@pytest.mark.parametrize("kind", KINDS)
def test_golden_training_steps(golden: Golden, kind: torch.dtype) -> None:
    suffix = "_f64" if kind == torch.float64 else ""
    trainer = Trainer(TrainingSettings(size=64, roi=16, width=8, judge_width=8))
    golden.fill(trainer.generator, "G/")
    golden.fill(trainer.judges["image"], "D/")
    golden.fill(trainer.judges["mouth"], "Dm/")
    for network in (trainer.generator, *trainer.judges.values()):
        network.to(kind)
    trainer.prepare()
    conditioning, faces = frames(golden, TRAIN, kind)
    centres = torch.from_numpy(golden[TRAIN]["mouth_centers_xy"]).long()
    parts = ("fooled", "features", "real", "made")
    names = [f"{region}_{part}" for region in ("image", "mouth") for part in parts]
    previous, losses, norms = None, [], []
    for number, rows in enumerate((slice(0, 6), slice(4, 10))):
        chunk = Chunk(conditioning[None, rows], faces[None, rows], {"mouth": centres[None, rows]})
        outcome = trainer.step(chunk, previous)
        previous = outcome.last
        weighted = [outcome.losses[name] * (10 if "features" in name else 1) for name in names]
        losses.append([0, *weighted, outcome.losses["generator"], outcome.losses["judges"]])
        norms.append(outcome.gradients)
        if not suffix:
            golden.check(TRAIN, f"fake_chunk{number}", outcome.made)
    golden.check(TRAIN, f"losses{suffix}", np.array(losses))
    golden.check(TRAIN, f"grad_norms{suffix}", np.array(norms))
    if suffix:
        assert previous is not None
        golden.check(TRAIN, "fake_chunk1_f64_last", previous[0, 3:])
    blank = torch.zeros(1, 6, 64, 64, dtype=kind)
    with torch.no_grad():
        probe = trainer.generator(conditioning[None, :3].flatten(1, 2), blank)
    golden.check(TRAIN, f"probe_after_2_steps{suffix}", probe)


def test_golden_windows_of_a_folder(golden: Golden, tmp_path: Path) -> None:
    actor, data = Actor(tmp_path), golden[DATA]
    kinds = {"faces": "rgb", "nmfcs": "nmfc", "shapes": "shape", "masks": "mask"}
    for frame in range(5):
        for kind, name in kinds.items():
            image = np.moveaxis(data[f"ds_u8_{name}"][frame], 0, 2)
            path = actor.frame_file(f"{kind}_aligned", frame)
            path.parent.mkdir(exist_ok=True)
            write_image(path, np.ascontiguousarray(np.broadcast_to(image, (64, 64, 3))))
        _write_eyes(actor, frame, data["ds_eye_landmarks_aligned"][frame])
    faces = Faces.open(actor, size=64)
    seen = np.stack([faces.conditioning(frame) for frame in faces.frames]) / np.float32(255)
    assert len(seen) - 2 == data["ds_len"][0]
    golden.check(DATA, "ds_input_A", np.stack([seen[k : k + 3] for k in range(3)]))
    filmed = torch.from_numpy(np.stack([faces.face(frame) for frame in range(3)]))
    golden.check(DATA, "ds_rgb_item0", as_picture(filmed))


def test_golden_mouths(golden: Golden, tmp_path: Path) -> None:
    data = golden[DATA]
    actor = write_actor(tmp_path, 3, 256)
    for frame, points in enumerate(data["mouth_landmark_files"]):
        _write_eyes(actor, frame, points)
    faces = Faces.open(actor)
    golden.check(DATA, "mouth_centers_xy", np.stack([faces.mouth(frame) for frame in range(3)]))
    corners = np.array([mouth_corner(centre, 72, 256) for centre in data["roi_centers_xy"]])
    golden.check(DATA, "roi_crop_corners_yx", np.stack([corners, corners + 71], axis=1))
    golden.check(DATA, "roi_centers_clamped_xy", corners[:, ::-1] + 36)


def _write_eyes(actor: Actor, frame: int, points: NDArray[np.float64]) -> None:
    path = actor.frame_file("eye_landmarks_aligned", frame)
    path.parent.mkdir(exist_ok=True)
    np.savetxt(path, points)


def test_mouths_lie_below_eyes_where_a_file_does_not_tell(tmp_path: Path) -> None:
    faces = Faces.open(write_actor(tmp_path, 1, 64, mouth=False), size=64)
    told = eye_points(32.0)[14:].mean(0)
    assert np.abs(faces.mouth(0) - told).max() < 0.1 * 64


def test_training_pictures_move_a_little_and_masks_stay(tmp_path: Path) -> None:
    faces = Faces.open(write_actor(tmp_path, 1), size=64)
    plain = faces.conditioning(0)
    moved = faces.conditioning(0, np.random.default_rng(1))
    again = faces.conditioning(0, np.random.default_rng(1))
    np.testing.assert_array_equal(moved, again)
    np.testing.assert_array_equal(moved[9], plain[9])
    for rows in (slice(0, 3), slice(6, 9)):
        apart = np.abs(moved[rows].astype(float) - plain[rows]).mean()
        assert 0.1 < apart < 12
    half = Faces.open(Actor(tmp_path), size=32)
    assert half.conditioning(0).shape == (10, 32, 32) and half.face(0).shape == (3, 32, 32)
    assert abs(float(half.face(0).mean()) - faces.face(0).mean()) < 3


def test_sequences_end_with_videos_and_gaps(tmp_path: Path) -> None:
    actor = write_actor(tmp_path, 12)
    (tmp_path / "videos").mkdir()
    for name, count in (("a", 5), ("b", 7)):
        (tmp_path / "videos" / f"{name}.mp4").touch()
        (tmp_path / "videos" / f"{name}.txt").write_text("header\n" + "0 0 1 1\n" * count)
    actor.frame_file("masks_aligned", 8).unlink()
    runs = Faces.open(actor, size=64).runs()
    assert runs == [[0, 1, 2, 3, 4], [5, 6, 7], [9, 10, 11]]
    assert [len(one) for one in sequences([list(range(120)), [0, 1]], 50)] == [50, 70, 2]


def test_structure_loss_is_zero_for_equals_and_sees_blur() -> None:
    generator = torch.Generator().manual_seed(0)
    real = torch.rand(1, 3, 64, 64, generator=generator) * 2 - 1
    assert structure_loss(real, real) < 1e-5
    blurred = torch.nn.functional.avg_pool2d(real, 3, 1, 1)
    brighter = (real + 0.1).clamp(-1, 1)
    assert structure_loss(blurred, real) > 2 * structure_loss(brighter, real) > 0


def conditioning_of(count: int, size: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    levels = random.integers(0, 256, (count, 10, size, size), np.uint8)
    levels[:, 9] = 255 * (levels[:, 9] > 60)
    return levels


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    network = Generator(8)
    initialise(network)
    return network


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_every_frame_gets_a_picture(generator: Generator, count: int) -> None:
    seen = conditioning_of(count)
    drawn = list(NeuralRenderer(generator).render(iter(seen)))
    assert len(drawn) == count
    assert all(picture.shape == (32, 32, 3) for picture in drawn)
    assert all(not picture[frame[9] == 0].any() for picture, frame in zip(drawn, seen, strict=True))


def test_a_clip_with_two_copies_before_it_gives_the_same_as_published(generator: Generator) -> None:
    seen = conditioning_of(6)
    ours = list(NeuralRenderer(generator).render(seen))
    padded = np.concatenate([seen[:1], seen[:1], seen])
    for one, other in zip(ours, NeuralRenderer(generator).render(padded, lead=0), strict=True):
        np.testing.assert_array_equal(one, other)


def test_drawing_can_go_on_from_written_pictures(generator: Generator) -> None:
    seen = conditioning_of(9)
    renderer = NeuralRenderer(generator)
    whole = list(renderer.render(seen))
    rest = list(renderer.render(seen[3:], lead=0, before=whole[3:5]))
    anew = list(renderer.render(seen[3:], lead=0))
    assert len(rest) == len(anew) == 4

    def apart(drawn: list[NDArray[np.uint8]]) -> float:
        return float(np.abs(drawn[0].astype(int) - whole[5]).mean())

    assert apart(rest) < 1 and apart(anew) > 5 * apart(rest)


def test_short_numbers_draw_nearly_the_same(generator: Generator) -> None:
    seen = conditioning_of(3)
    wide = np.stack(list(NeuralRenderer(generator).render(seen)))
    short = np.stack(list(NeuralRenderer(generator, short=True).render(seen)))
    assert np.abs(wide.astype(int) - short).mean() < 3


def test_files_load_strictly_under_either_name(generator: Generator, tmp_path: Path) -> None:
    state = generator.state_dict()
    path = tmp_path / "20_net_G.pth"
    for dropped in ("conv_block", "resnetblock_sequential", "nothing"):
        torch.save({k: v for k, v in state.items() if dropped not in k}, path)
        loaded = load_generator(path)
        assert loaded.width == 8
        assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())
    torch.save(Discriminator(4).state_dict(), tmp_path / "20_net_D.pth")
    assert load_discriminator(tmp_path / "20_net_D.pth").width == 4
    broken = {k: v for k, v in state.items() if k != "model_final_img.1.bias"}
    torch.save({**broken, "extra": torch.zeros(1)}, path)
    with pytest.raises(AssetError, match=r"misses model_final_img\.1\.bias; has unknown extra"):
        load_generator(path)


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2000])


def _of_another_layout(path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, path)


def _narrow_inside(path: Path) -> None:
    state = Generator(4).state_dict()
    state["model_down_seg.4.weight"] = torch.zeros(8, 8, 3, 3)
    torch.save(state, path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut_short, "not a complete checkpoint"),
        (_of_another_layout, "is not a renderer's generator"),
        (_narrow_inside, r"shapes: model_down_seg\.4\.weight \(8, 8, 3, 3\), needs \(8, 4, 3, 3\)"),
    ],
)
def test_wrong_files_are_one_line(tmp_path: Path, damage: Any, message: str) -> None:
    path = tmp_path / "20_net_G.pth"
    torch.save(Generator(4).state_dict(), path)
    damage(path)
    with pytest.raises(NedError, match=message) as caught:
        load_generator(path)
    assert "\n" not in str(caught.value)


def test_epochs_are_found_in_ned_s_order(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no renderer"):
        find_generator(tmp_path)
    for name in ("5", "latest", "10", "best"):
        (tmp_path / f"{name}_net_G.pth").touch()
    assert epochs_in(tmp_path) == ["5", "10", "best", "latest"]
    assert find_generator(tmp_path).name == "latest_net_G.pth"
    (tmp_path / "20_net_G.pth").touch()
    assert find_generator(tmp_path).name == "20_net_G.pth"
    write_record(tmp_path, {"held_out": []})  # of our own trainer, which need not stop at 20
    assert find_generator(tmp_path).name == "latest_net_G.pth"
    assert find_generator(tmp_path, "5").name == "5_net_G.pth"
    with pytest.raises(InputError, match=r"epoch 7 is not in .*there are 5, 10, 20, best, latest"):
        find_generator(tmp_path, "7")
    with pytest.raises(InputError, match="is not a folder"):
        find_generator(tmp_path / "nothing")


def test_exported_generator_is_the_same(generator: Generator, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    import onnxruntime

    from renderer.export import export_generator

    path = tmp_path / "renderer.onnx"
    assert export_generator(generator, path, 32) < 1e-3
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    random = torch.Generator().manual_seed(1)
    seen = torch.rand(2, 30, 40, 48, generator=random)  # other sizes than it was written with
    previous = torch.rand(2, 6, 40, 48, generator=random) * 2 - 1
    previous[1] = 0
    inputs = {"conditioning": seen.numpy(), "previous": previous.numpy()}
    with torch.inference_mode():
        own = generator.eval()(seen, previous).numpy()
    np.testing.assert_allclose(session.run(None, inputs)[0], own, atol=1e-3)


def test_damaged_pictures_are_one_line(tmp_path: Path) -> None:
    actor = write_actor(tmp_path, 3)
    faces = Faces.open(actor, size=64)
    write_image(actor.frame_file("nmfcs_aligned", 1), np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(InputError, match="has a side of 32 pixels, other pictures of the actor 64"):
        faces.conditioning(1)
    _write_eyes(actor, 2, np.zeros((12, 2)))
    with pytest.raises(InputError, match="holds 12 points, 14 are needed"):
        faces.conditioning(2)
    assert read_image(actor.frame_file("faces_aligned", 0)).shape == (64, 64, 3)
    with pytest.raises(InputError, match="holds no frames"):
        Faces.open(Actor(tmp_path / "empty"))
