"""Training a neural renderer: it learns, goes on exactly where it was, and survives a full disk."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from places import ROOT
from renderer_files import write_actor

from ned.commands.train_renderer import train_renderer
from ned.core.errors import AssetError, InputError, OutputError
from ned.core.files.actor import Actor
from ned.core.files.checkpoint import load_weights
from ned.options.render import ExportRendererOptions, RenderOptions, TrainRendererOptions
from renderer.neural import checkpoints
from renderer.neural.dataset import Faces
from renderer.neural.settings import TrainingSettings
from renderer.neural.training import RendererTraining, divided
from renderer.training_page import HeldOutSample, TrainingPage

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    **{"size": 32, "width": 4, "judge_width": 4, "gpu_ids": "-1", "precision": "float32"},
    **{"held_out": 0.2, "niter": 1},
}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def actor(tmp_path_factory: pytest.TempPathFactory) -> Actor:
    """Thirty frames of a made-up actor."""
    return write_actor(tmp_path_factory.mktemp("actor"), 30)


def options(actor: Actor, folder: Path, **changes: Any) -> TrainRendererOptions:
    return TrainRendererOptions(actor.folder, folder, **{**SMALL, **changes})


def logged(folder: Path, name: str = "generator") -> list[float]:
    lines = (folder / "loss_log.txt").read_text().splitlines()
    return [float(line.split(f" {name} ")[1].split()[0]) for line in lines]


def test_losses_fall_and_everything_is_written(actor: Actor, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "here"
    lines = train_renderer(options(actor, folder, niter=3, lr=1e-3))
    assert "9 steps (9 of them now), 3 of 3 epochs; all epochs are done" in lines[0]
    losses = logged(folder, "perceptual")
    assert len(losses) == 9 and np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
    names = {path.name for path in folder.glob("*.pth")}
    for epoch in ("latest", "best"):
        assert {f"{epoch}_net_{network}.pth" for network in ("G", "D", "Dm")} <= names
    assert (folder / "iter.txt").read_text() == "4,9\n"
    record = checkpoints.read_record(folder)
    assert record["held_out"] == [24, 25, 26, 27, 28, 29]
    assert record["settings"]["width"] == 4 and record["settings"]["roi"] == 8
    page = (folder / "web" / "index.html").read_text()
    assert "<svg" in page and 'src="step_0000009.png"' in page
    assert (folder / "web" / "step_0000009.png").is_file()


def test_a_run_in_two_parts_is_the_same_as_one(actor: Actor, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_renderer(options(actor, whole, niter=2))
    train_renderer(options(actor, parts, minutes=1e-6, niter=2))  # one step, in mid-clip
    assert len(logged(parts)) == 1
    lines = train_renderer(options(actor, parts, niter=2))
    assert "6 steps (5 of them now)" in lines[0]
    assert logged(parts) == logged(whole)
    for name in ("latest_net_G.pth", "latest_net_Dm.pth"):
        one, other = load_weights(whole / name), load_weights(parts / name)
        assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert "0 of them now" in train_renderer(options(actor, parts, niter=2))[0]


TOGETHER = """
import sys, torch
from pathlib import Path
from ned.core.files.actor import Actor
from renderer.neural.training import RendererTraining
from renderer.neural.dataset import Faces
from ned.core.processes import ALONE, launch, processes_of
from renderer.neural.settings import TrainingSettings

torch.set_num_threads(1)
actor, folder, minutes, count = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
processes = processes_of(launch("cpu", count)) if count > 1 else ALONE
settings = TrainingSettings(
    epochs=2, batch=2, size=32, roi=8, width=4, judge_width=4, rate=1e-5, perceptual="none"
)
faces = Faces.open(Actor.open(actor), size=32)
training = RendererTraining(faces, folder, settings, torch.device("cpu"), False, None, processes)
training.sequences, training.held_out = [list(range(k, k + 10)) for k in (0, 10, 20)], []
training.resume()
training.run(float(minutes) or None)
rank = processes.rank
torch.save(training.trainer.generator.state_dict(), folder / f"weights{rank}.pth")
"""


def test_two_processes_train_one_renderer_together(actor: Actor, tmp_path: Path) -> None:
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

    def run(name: str, minutes: float, count: int) -> Path:
        (tmp_path / name).mkdir(exist_ok=True)
        words = [sys.executable, script, actor.folder, tmp_path / name, str(minutes), str(count)]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return tmp_path / name

    alone, parts = run("alone", 0, 1), run("parts", 1e-9, 2)
    assert len(logged(parts)) == 1  # stopped within a clip
    run("parts", 0, 2)
    # the last of an epoch's groups is one sequence, with nothing left for the second process
    assert len(logged(parts)) == len(logged(alone)) == 8
    assert logged(parts)[0] == pytest.approx(logged(alone)[0], abs=2e-5)
    # rounding differs, and flat parts of pictures magnify it
    np.testing.assert_allclose(logged(parts), logged(alone), rtol=1e-2)
    weights = [load_weights(parts / f"weights{rank}.pth") for rank in (0, 1)]
    published = load_weights(parts / "latest_net_G.pth")
    for key, value in weights[0].items():
        if "running" in key or "num_batches" in key:  # each its own, and never used
            continue
        assert torch.equal(value, weights[1][key]) and torch.equal(value, published[key])


def test_an_interrupted_run_says_how_to_go_on(actor: Actor, tmp_path: Path) -> None:
    words = [sys.executable, "renderer/train.py", "--celeb", actor.folder, "--checkpoints_dir"]
    words += [tmp_path, "--size", "32", "--width", "4", "--judge-width", "4", "--gpu_ids", "-1"]
    words += ["--niter", "5000", "--precision", "float32"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [str(word) for word in words],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        log = tmp_path / "loss_log.txt"
        while not (log.exists() and log.read_text().count("\n") > 2):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1 and said.count("\n") == 1
    assert "everything is saved" in said and "the same command goes on" in said
    steps = int((tmp_path / "iter.txt").read_text().split(",")[1])
    assert steps == log.read_text().count("\n")
    assert not list(tmp_path.glob(".*.pth.partial"))


def test_a_full_disk_keeps_the_checkpoint_before(actor: Actor, tmp_path: Path) -> None:
    train_renderer(options(actor, tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.pth")}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        with pytest.raises(OutputError, match="cannot be written") as caught:
            train_renderer(options(actor, tmp_path, niter=2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value) and "is kept" in str(caught.value)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.pth")} == before
    assert not list(tmp_path.glob(".*.pth.partial"))
    assert "2 of 2 epochs" in train_renderer(options(actor, tmp_path, niter=2))[0]


def test_training_begins_with_networks_of_another_folder(actor: Actor, tmp_path: Path) -> None:
    meta = tmp_path / "meta"
    train_renderer(options(actor, meta))
    for path in meta.glob("latest_net_*.pth"):
        path.rename(meta / path.name.replace("latest", "15"))
    chosen = {"load_pretrain": meta, "which_epoch": "15"}
    train_renderer(options(actor, tmp_path / "own", minutes=1e-6, lr=1e-9, **chosen))
    one = load_weights(meta / "15_net_G.pth")["model_final_img.1.weight"]
    other = load_weights(tmp_path / "own" / "latest_net_G.pth")["model_final_img.1.weight"]
    torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    with pytest.raises(InputError, match=r"epoch 3 is not in .*there are 15, best"):
        train_renderer(options(actor, tmp_path / "x", load_pretrain=meta, which_epoch="3"))
    with pytest.raises(AssetError, match="give --width 4"):
        train_renderer(options(actor, tmp_path / "y", width=16, **chosen))
    (meta / "15_net_Dm.pth").unlink()
    with pytest.raises(AssetError, match=r"15_net_Dm\.pth' is missing"):
        train_renderer(options(actor, tmp_path / "z", **chosen))
    assert not list(tmp_path.glob("[xyz]/*.pth"))


def test_batches_eyes_and_hinge_train_too(actor: Actor, tmp_path: Path) -> None:
    faces = Faces.open(actor, size=32)
    settings = TrainingSettings(
        size=32, roi=8, width=4, judge_width=4, batch=2, eyes=True, adversarial="hinge", epochs=1
    )
    two = RendererTraining(faces, tmp_path, settings, CPU, short=False)
    two.sequences = [list(range(10)), list(range(10, 20)), list(range(20, 27))]
    assert two.run() == "all epochs are done"
    assert two.position.step == 4  # two clips of 8 side by side, then one of 5
    assert (tmp_path / "latest_net_De.pth").is_file()
    assert "eyes_fooled" in (tmp_path / "loss_log.txt").read_text()


def test_short_numbers_train_too(actor: Actor, tmp_path: Path) -> None:
    train_renderer(options(actor, tmp_path, minutes=1e-6, precision="bfloat16"))
    assert np.isfinite(logged(tmp_path)).all()
    weights = load_weights(tmp_path / "latest_net_G.pth")
    assert weights["model_final_img.1.weight"].dtype == torch.float32


def test_it_stops_when_held_out_frames_gain_no_more(actor: Actor, tmp_path: Path) -> None:
    settings = TrainingSettings(
        size=32, roi=8, width=4, judge_width=4, epochs=40, patience=1, rate=1e-12
    )
    training = RendererTraining(Faces.open(actor, size=32), tmp_path, settings, CPU, short=False)
    training.sequences = [list(range(6))]
    assert training.run() == "held-out frames have stopped gaining"
    assert training.position.epoch <= 31  # it looks after every tenth epoch


def test_the_page_shows_values_as_text_and_runs_nothing(tmp_path: Path) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    sample = HeldOutSample(1, 5, 20.0, [3, 4], [np.moveaxis(picture, 2, 0)], [picture], [picture])
    (tmp_path / "looks.json").write_text(
        '[{"epoch": "<b>", "step": 2, "psnr": 18, "picture": "\\"><script>x</script>"}]'
    )
    TrainingPage(tmp_path, "an <i>actor</i>").add(sample)
    page = (tmp_path / "index.html").read_text()
    assert "<script" not in page and "<b>" not in page and "<i>" not in page
    assert "epoch &lt;b&gt;, step 2: 18.00 dB" in page and "18.00 to 20.00 dB" in page
    assert page.index("Content-Security-Policy") < page.index("<title>Training of an &lt;i")
    assert "default-src 'none'" in page and page.index("step 5:") < page.index("step 2:")


@pytest.mark.parametrize(("count", "share", "needed"), [(5, 0.0, 6), (6, 0.2, 7), (3, 0.5, 11)])
def test_too_few_frames_are_one_line(tmp_path: Path, count: int, share: float, needed: int) -> None:
    faces = Faces.open(write_actor(tmp_path, count), size=64)
    with pytest.raises(InputError, match=f"there are {count} frames to train on; {needed} or more"):
        divided(faces, share)
    write_actor(tmp_path, needed)
    assert divided(Faces.open(Actor(tmp_path), size=64), share)[0]


def test_a_folder_that_was_begun_otherwise_is_not_mixed_up(actor: Actor, tmp_path: Path) -> None:
    train_renderer(options(actor, tmp_path, minutes=1e-6))
    with pytest.raises(InputError, match="was begun with width 4, not 16; give --restart"):
        train_renderer(options(actor, tmp_path, width=16))
    with pytest.raises(InputError, match="was begun with size 32, not 64; give --restart"):
        train_renderer(options(actor, tmp_path, size=64))
    train_renderer(options(actor, tmp_path, width=8, restart=True, minutes=1e-6))
    (tmp_path / checkpoints.STATE).write_bytes(b"PK damaged")
    with pytest.raises(InputError, match="is damaged; give --restart"):
        train_renderer(options(actor, tmp_path, width=8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gpu_ids": "two"}, "give a GPU's number"),
        ({"gpu_ids": "0,-1", "batch_size": 2}, "give different GPUs such as 0,1"),
        ({"gpu_ids": "0,1"}, "--batch-size 1 cannot be shared by 2 devices"),
        ({"size": 100}, "give a multiple of 8"),
        ({"niter": 0}, "epochs is 0, give 1 or more"),
        ({"minutes": 0}, "--minutes is 0, give more than 0"),
        ({"held_out": 1.5}, "held-out is 1.5, give a share"),
        ({"which_epoch": "3"}, "--load-pretrain; give that too"),
        ({"perceptual": "vgg"}, "vgg19-dcbb9e9d.pth is missing"),
    ],
)
def test_bad_options_are_one_line(
    actor: Actor,
    tmp_path: Path,
    changes: dict[str, Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NED_ASSETS", str(tmp_path / "none"))
    with pytest.raises((InputError, AssetError), match=message) as caught:
        train_renderer(options(actor, tmp_path / "checkpoints", **changes))
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "checkpoints").glob("*.pth"))


def test_a_missing_gpu_and_unclear_renderings_are_refused(actor: Actor, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="is not in this machine"):
            train_renderer(options(actor, tmp_path, gpu_ids="0"))
    for given in ({}, {"own": True, "exp_name": "happy"}):
        with pytest.raises(InputError, match="give either --exp-name NAME, or --self"):
            RenderOptions(actor.folder, **given)  # type: ignore[arg-type]
    assert ExportRendererOptions(tmp_path, tmp_path / "x.onnx").which_epoch is None
