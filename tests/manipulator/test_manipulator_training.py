"""Training of the learned manipulator: data, actors apart, rate, exact resumption, bad input."""

from __future__ import annotations

import csv
import dataclasses
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from acted_faces import acted
from golden import Golden
from made_up_codes import flame_codes

from deca.rig import load_rig
from manipulator.checkpoints import load_manipulator
from manipulator.data.names import parse_name
from manipulator.data.sequences import ExpressionSequence, write_sequences
from manipulator.data.sources import read_aff_wild, read_folder, read_mead
from manipulator.data.windows import LabelledSequence, Windows, cut_windows, split_actors
from manipulator.networks import Networks, NetworkSettings
from manipulator.training import Trainer, TrainingSettings
from ned.cli import main
from ned.commands.train_manipulator import train_manipulator
from ned.core.errors import InputError
from ned.core.script.emotions import NED_LABELS
from ned.core.training_loop import Interrupted
from ned.options.train_manipulator import TrainManipulatorOptions

DATA = "manipulator_data.npz"
SMALL = NetworkSettings(
    values=6,
    emotions=("neutral", "happy", "sad"),
    generator_in=(12, 12),
    generator_hidden=8,
    generator_out=(12, 12),
    encoder_in=(12, 12),
    encoder_hidden=8,
    encoder_out=(12, 8),
    mapping=12,
)


pytestmark = pytest.mark.usefixtures("one_thread")


def moving(frames: int, columns: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    steps = generator.normal(size=(frames, columns)).astype(np.float32)
    return np.cumsum(steps, axis=0) * np.float32(0.1)


def small_windows(clips: int = 6, actors: tuple[str, ...] = ("a", "b")) -> Windows:
    sequences = [
        LabelledSequence.of(moving(15, 6, k), k % 3, actors[k % len(actors)], f"clip {k}")
        for k in range(clips)
    ]
    return cut_windows(sequences)


def write_mead(folder: Path, actors: tuple[str, ...] = ("M003", "M009", "W029")) -> None:
    folder.mkdir(exist_ok=True)
    for k, actor in enumerate(actors):
        clips = [
            ExpressionSequence(moving(13, 53, 10 * k + e), emotion)
            for e, emotion in enumerate((*NED_LABELS, "contempt"))
        ]
        write_sequences(folder / f"{actor}_deca.pkl", clips)


def test_mead_becomes_the_golden_windows(golden: Golden, tmp_path: Path) -> None:
    labels = ("happy", "contempt", "neutral", "sad", "surprised")
    clips = [ExpressionSequence(golden[DATA][f"mead_video{k}"], e) for k, e in enumerate(labels)]
    write_sequences(tmp_path / "M003_deca.pkl", clips)
    for hop in (1, 4):
        windows = cut_windows(read_mead(tmp_path, NED_LABELS).sequences, hop=hop)
        golden.check(DATA, f"mead_hop{hop}_seqs", windows[np.arange(len(windows))])
        golden.check(DATA, f"mead_hop{hop}_labels", windows.labels)


def test_aff_wild_becomes_the_golden_windows(golden: Golden, tmp_path: Path) -> None:
    arrays = golden[DATA]
    frames = arrays["aff_frames"]
    codes = flame_codes(len(frames))
    codes = dataclasses.replace(
        codes, frames=frames, expression=arrays["aff_exp"][frames], pose=arrays["aff_pose"][frames]
    )
    (tmp_path / "DECA").mkdir()
    codes.performance().save(tmp_path / "DECA" / "1-30.safetensors")
    lines = ["Neutral,Anger", *map(str, arrays["aff_annotation"].tolist())]
    (tmp_path / "1-30.txt").write_text("\n".join(lines) + "\n")
    data = read_aff_wild(tmp_path, tmp_path, NED_LABELS)
    sequences = data.sequences
    windows = cut_windows(sequences)
    assert data.face_model == "flame" and len(sequences) == 1
    golden.check(DATA, "aff_window_first_frame", sequences[0].frames[windows.starts])
    golden.check(DATA, "aff_labels", windows.labels)
    golden.check(DATA, "aff_item0", windows[np.array([0])])


def test_windows_stay_inside_runs_and_have_a_label() -> None:
    frames = np.r_[0:12, 20:30, 31:40]  # 12 frames, then 10, then 9 which are too few
    labels = np.zeros(len(frames), np.int64)
    labels[:6] = -1  # most of the first window's frames and half of the second's
    values = frames[:, None].astype(np.float32)
    windows = cut_windows([LabelledSequence(values, labels, frames, "a", "clip")])
    found = windows[np.arange(len(windows))][..., 0]
    assert found[:, 0].tolist() == [2, 20]
    assert (np.diff(found, axis=1) == 1).all()


def test_no_actor_trains_and_validates() -> None:
    sequences = [LabelledSequence.of(moving(12, 2, k), 0, f"{k % 7}", "") for k in range(21)]
    for training, validation in ((), ()), (("1", "2"), ()), ((), ("3",)), (("1",), ("5", "6")):
        split = split_actors(sequences, training, validation)
        sides = [{one.actor for one in side} for side in (split.training, split.validation)]
        assert sides[0] and sides[1] and not sides[0] & sides[1]
        assert (not training or sides[0] == set(training)) and set(validation) <= sides[1]
        ours = cut_windows(split.training).actors, cut_windows(split.validation).actors
        assert not set(ours[0]) & set(ours[1])
    with pytest.raises(InputError, match="2 is among --selected_actors and"):
        split_actors(sequences, ("1", "2"), ("2",))
    with pytest.raises(InputError, match="there is no actor 'M003'"):
        split_actors(sequences, ("M003",))


@pytest.mark.parametrize(
    ("scheme", "name", "told"),
    [
        ("crema-d", "1001_DFA_ANG_XX", ("1001", "angry")),
        ("crema-d", "1091_IEO_HAP_HI", ("1091", "happy")),
        ("crema-d", "1091_IEO_XXX_HI", None),
        ("ravdess", "03-01-05-01-02-01-12", ("12", "angry")),
        ("ravdess", "01-01-02-01-01-02-24", ("24", "calm")),
        ("ravdess", "02-01-07-02-01-02-01", ("01", "disgusted")),
        ("ravdess", "holiday", None),
    ],
)
def test_names_of_public_sets(scheme: Any, name: str, told: tuple[str, str] | None) -> None:
    assert parse_name(scheme, name) == told


def test_a_folder_of_actors_is_labelled_by_a_table_or_by_names(tmp_path: Path) -> None:
    rig = load_rig()
    for actor, clips in {"ann": ("one", "two"), "bob": ("one",)}.items():
        (tmp_path / actor / "DECA").mkdir(parents=True)
        for clip in clips:
            units = np.random.default_rng(0).uniform(0, 1, (12, len(rig))).astype(np.float32)
            acted(units, absent=(3,)).save(tmp_path / actor / "DECA" / f"{clip}.safetensors")
    table = tmp_path / "labels.csv"
    rows = [("Clip", "emotion"), ("ann/one", "happy"), ("two.mp4", "Sad"), ("bob/one", "calm")]
    write_table(table, rows)
    data = read_folder(tmp_path, table, NED_LABELS)
    sequences = data.sequences
    assert data.face_model == "rig" and data.unit_names == rig.names
    assert [(one.actor, NED_LABELS[one.labels[0]]) for one in sequences] == [
        ("ann", "happy"),
        ("ann", "sad"),
    ]
    assert sequences[0].frames.tolist() == [0, 1, 2, *range(4, 12)]
    write_table(table, rows[:3])
    with pytest.raises(InputError, match=r"labels\.csv' has no label for the clip 'one'"):
        read_folder(tmp_path, table, NED_LABELS)
    write_table(table, [*rows, ("three", "")])
    with pytest.raises(InputError, match="line 5 has no emotion"):
        read_folder(tmp_path, table, NED_LABELS)
    with pytest.raises(InputError, match=r"'one\.safetensors' is not named as ravdess"):
        read_folder(tmp_path, "ravdess", NED_LABELS)


def write_table(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_the_rate_falls_over_the_last_epochs() -> None:
    settings = TrainingSettings(epochs=20, rate=1e-4)
    rates = [settings.rate_in(epoch) for epoch in range(1, 21)]
    assert rates[:11] == [1e-4] * 11
    np.testing.assert_allclose(rates[11:], 1e-4 * np.arange(9, 0, -1) / 10)


class StopTraining(Exception):
    pass


def test_a_stopped_run_is_saved_and_goes_on(tmp_path: Path) -> None:
    training, state = small_windows(), tmp_path / "state.pt"
    settings = TrainingSettings(epochs=1, batch=8, rate=1e-2)
    whole, first, second = (
        Trainer(Networks(SMALL).initialise(0), training, training, settings) for _ in range(3)
    )
    whole.run()

    def stop(step: int, losses: object) -> None:
        if step == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="after step 2; everything is saved"):
        first.run(state, on_step=stop)
    second.load_state(state)
    assert second.done.step == 2 < second.steps
    second.run(state)
    for one, other in zip(whole.networks.parameters(), second.networks.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_killed_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    stop = 7  # in the middle of the second epoch
    training, validation = small_windows(), small_windows(3, ("c",))
    settings = TrainingSettings(epochs=2, decay=1, batch=8, rate=1e-2)

    def trainer(seed: int = 0) -> Trainer:
        return Trainer(Networks(SMALL).initialise(seed), training, validation, settings)

    whole, told = trainer(), []
    whole.run(on_epoch=lambda epoch, losses: told.append((epoch, losses)))

    def kill(step: int, losses: object) -> None:
        if step == stop:
            raise StopTraining

    broken, state = trainer(), tmp_path / "state.pt"
    with pytest.raises(StopTraining):
        broken.run(state, every=1, on_step=kill)
    resumed, retold = trainer(seed=5), []
    resumed.load_state(state)
    assert (resumed.done.epoch - 1) * resumed.steps + resumed.done.step == stop - 1
    resumed.run(state, on_epoch=lambda epoch, losses: retold.append((epoch, losses)))
    for one, other in zip(whole.networks.parameters(), resumed.networks.parameters(), strict=True):
        assert torch.equal(one, other)
    assert retold == told[-len(retold) :] and len(told) == 2
    fresh = Networks(SMALL).initialise(0)
    moved = zip(fresh.parameters(), whole.networks.parameters(), strict=True)
    assert all(not torch.equal(a, b) for a, b in moved)  # every parameter has learned
    changed = Trainer(
        Networks(SMALL), training, validation, dataclasses.replace(settings, rate=1e-3)
    )
    with pytest.raises(InputError, match="other data or settings"):
        changed.load_state(state)


def test_learning_teaches_the_emotions() -> None:
    """On emotions that are plain to see, translated windows get the wanted one's look."""
    generator = np.random.default_rng(0)
    sequences = []
    for k in range(30):
        values = 0.3 * generator.normal(size=(40, 6)) + 0.5 * moving(40, 6, k)
        values[:, 1 + k % 3] += 1.5
        sequences.append(LabelledSequence.of(values, k % 3, "a", f"clip {k}"))
    training = cut_windows(sequences)
    settings = TrainingSettings(epochs=4, decay=1, batch=32, rate=5e-3)
    trainer = Trainer(Networks(SMALL).initialise(0), training, training, settings)
    trainer.run()
    networks, gains = trainer.networks, []
    for shown, wanted in ((0, 2), (1, 0), (2, 1)):
        given = torch.from_numpy(training[np.flatnonzero(training.labels == shown)[:100]])
        with torch.no_grad():
            latent = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
            style = networks.mapping_network(latent, torch.full((100,), wanted))
            change = (networks.generator(given, style) - given).mean((0, 1))
        gains.append(float(change[1 + wanted] - change[1 + shown]))
    assert np.mean(gains) > 0.7, gains


def test_mead_is_trained_on_and_finetuned(tmp_path: Path, capsys: Any) -> None:
    write_mead(tmp_path / "mead")
    out = tmp_path / "out"
    words = f"train-manipulator --train_root {tmp_path / 'mead'} --checkpoints_dir {out}"
    words += " --selected_actors M003 M009 --selected_actors_val W029 --niter 1 --size rig"
    words += " --batch_size 16 --hop_len 2 --gpu_ids -1"
    assert main(words.split()) == 0
    manipulator = load_manipulator(out / "01_nets.safetensors")
    assert manipulator.face_model == "flame" and manipulator.settings.values == 51
    assert manipulator.record["actors"] == ["M003", "M009"]
    assert manipulator.record["validation_actors"] == ["W029"]
    assert np.isfinite(list(manipulator.record["validation"].values())).all()
    assert (out / "pictures" / "epoch_01_curves.png").is_file()
    assert next((out / "logs").glob("events*")).stat().st_size > 1000
    assert main(words.split()) == 0
    assert "all 1 epochs are done" in capsys.readouterr().out
    assert main([*words.split(), "--finetune", "--no-pictures"]) == 1
    assert "no epoch 20 to finetune; --finetune_epoch can be 1" in capsys.readouterr().err
    more = ["--finetune", "--finetune_epoch", "1", "--no-pictures", "--lr", "1e-6"]
    assert main([*words.split(), *more]) == 0
    tuned = load_manipulator(out / "01_nets_finetuned.safetensors")
    for one, other in zip(
        tuned.networks.parameters(), manipulator.networks.parameters(), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_made_up_performances_are_trained_on(tmp_path: Path) -> None:
    options = TrainManipulatorOptions(
        tmp_path / "out", "synthetic", count=16, niter=1, batch_size=64, hop_len=10, device="cpu"
    )
    train_manipulator(options)
    manipulator = load_manipulator(tmp_path / "out" / "01_nets.safetensors")
    rig = load_rig()
    assert manipulator.face_model == "rig" and manipulator.unit_names == rig.names
    assert manipulator.mean.any() and "contempt" in manipulator.settings.emotions
    for name in ("epoch_01.png", "epoch_01.mp4", "epoch_01_curves.png"):
        assert (tmp_path / "out" / "pictures" / name).stat().st_size > 5000


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--train_root {mead} --selected_actors M003 --selected_actors_val M003", "M003 is among"),
        ("--train_root {mead} --selected_actors M777", "there is no actor 'M777'"),
        ("--train_root {empty}", "holds no M003_deca.pkl"),
        ("--database folder --train_root {empty} --annotations_path x.csv", "'x.csv' cannot be"),
        ("--database folder --train_root {empty}", "needs --annotations_path"),
        ("--database folder --names ravdess --train_root {empty}", "holds no face parameters"),
        ("--database aff-wild2 --train_root {codes} --annotations_path {gaps}", "line 4 is empty"),
        ("--train_root {mead} --seq_len 50", "no clip is as long as a window of 50 frames"),
        ("--train_root {mead} --emotions joy", "no clip with one of the emotions joy"),
        ("", "needs --train_root"),
        ("--train_root {mead} --batch_size 0", "--batch_size is 0"),
    ],
)
def test_bad_input_is_told_in_one_line(
    words: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mead(tmp_path / "mead")
    places = {name: tmp_path / name for name in ("mead", "empty", "codes", "gaps")}
    for name in ("empty", "gaps"):
        places[name].mkdir()
    (tmp_path / "codes" / "DECA").mkdir(parents=True)
    flame_codes(12).performance().save(tmp_path / "codes" / "DECA" / "video.safetensors")
    (tmp_path / "gaps" / "video.txt").write_text("heading\n1\n1\n\n1\n" + "1\n" * 12)
    out = tmp_path / "out"
    given = ["train-manipulator", "--checkpoints_dir", str(out), *words.format(**places).split()]
    assert main([*given, "--device", "cpu"]) == 1
    said = capsys.readouterr().err.strip().split("\n")
    assert complaint in said[-1] and said[-1].startswith("ned: error")
    assert all("warning" in line.lower() for line in said[:-1])
    assert not out.exists() or not list(out.glob("*.safetensors"))
