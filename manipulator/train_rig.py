"""Training of the manipulator that ships with the package.

    python -m manipulator.train_rig --output configs/manipulator_rig.safetensors

makes up performances, learns their pairs, and writes networks for the rig with the command, the
seed, the settings and the losses on held-out actors.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deca.rig import Rig, load_rig
from manipulator.checkpoints import Manipulator, save_manipulator
from manipulator.data.synthetic import (
    SyntheticPerformance,
    SyntheticSettings,
    make_performances,
)
from manipulator.learned import LearnedDirector
from manipulator.networks import RIG, Networks, for_values
from manipulator.paired import (
    PairedSettings,
    Pairs,
    paired_batches,
    paired_losses,
    train_pairs,
)
from manipulator.prototypes import load_prototypes
from manipulator.speech_lock import SpeechLock
from ned.core.script.emotions import NEUTRAL

HELD_OUT = 10000  # number of the first actor that training never sees
_LEAST_SPREAD = 0.1
_FAINT = 0.3  # of the takes that networks learn from
_GAIN_TAKES = 8

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make up performances, train on them, and write the networks."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--takes", type=int, default=450, help="each is played with every emotion")
    parser.add_argument("--iterations", type=int, default=PairedSettings.iterations)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(options.threads)
    rig, shown = load_rig(), SyntheticSettings(faint=_FAINT)
    performances = make_performances(options.takes * len(shown.emotions), rig, options.seed, shown)
    log.info("%d performances", len(performances))
    usual = PairedSettings.mapping_iterations
    settings = PairedSettings(options.iterations, min(options.iterations, usual))
    manipulator, losses = train_rig(performances, rig, settings, options.seed)
    test = held_out(rig, takes=min(20, options.takes), seed=options.seed + 1)
    manipulator.record = {
        "command": f"python -m manipulator.train_rig --takes {options.takes} "
        f"--iterations {options.iterations} --seed {options.seed}",
        "seed": options.seed,
        "torch": torch.__version__,
        "training": dataclasses.asdict(settings),
        "performances": dataclasses.asdict(shown) | {"takes": options.takes},
        "losses": losses,
        "held_out": measure_pairs(manipulator, test, rig, settings),
    }
    manipulator.record["gain"] = find_gain(manipulator, performances, rig)
    save_manipulator(manipulator, options.output, discriminator=False)
    log.info("%s: %s", options.output, manipulator.record)


def train_rig(
    performances: Sequence[SyntheticPerformance], rig: Rig, settings: PairedSettings, seed: int
) -> tuple[Manipulator, dict[str, float]]:
    """New networks for the rig, trained on pairs; and the losses of the last iterations."""
    emotions = tuple(dict.fromkeys(performance.emotion for performance in performances))
    units = np.concatenate([performance.units for performance in performances])
    spread = np.maximum(units.std(0), _LEAST_SPREAD).astype(np.float32)
    networks = Networks(for_values(RIG, len(rig), emotions)).initialise(seed)
    manipulator = Manipulator(networks, "rig", rig.names, _mirrored(units.mean(0), rig), spread)
    manipulator.spread = _mirrored(spread, rig)
    losses = train_pairs(networks, pairs_for(manipulator, performances, rig), settings, seed)
    networks.eval().requires_grad_(False)
    return manipulator, losses


def find_gain(
    manipulator: Manipulator, performances: Sequence[SyntheticPerformance], rig: Rig
) -> float:
    """Factor from neutral to labels' styles that gives changes of the size of prototypes.

    Sizes are those of the mean change of neutral takes under the speech lock, relative to each
    emotion's first variant; the factor is the inverse of their median, 1 to 1.5.
    """
    director, lock, prototypes = LearnedDirector(manipulator), SpeechLock(rig), load_prototypes()
    names = [name for name in manipulator.settings.emotions if name != NEUTRAL]
    styles, sizes = director.styles(names), []
    takes = [performance.units for performance in performances if performance.emotion == NEUTRAL]
    for name, style in zip(names, styles, strict=True):
        wanted = rig.displacement(lock.apply(prototypes[name].amounts(rig, 0)[None]))
        for units in takes[:_GAIN_TAKES]:
            times = np.arange(len(units)) / 25
            own, full = director.style_of_units(units, times), np.ones((len(units), 1))
            change = lock.apply(director.change_from(own, units, times, style[None], full))
            made = rig.displacement(change.mean(0)[None])
            sizes.append(float(np.linalg.norm(made) / np.linalg.norm(wanted)))
    return float(np.clip(1 / max(float(np.median(sizes)), 1e-6), 1.0, 1.5))


def held_out(rig: Rig, takes: int, seed: int) -> list[SyntheticPerformance]:
    """Takes of actors that training never sees."""
    settings = SyntheticSettings(actors=40, first_actor=HELD_OUT)
    return make_performances(takes * len(settings.emotions), rig, seed, settings)


def pairs_for(
    manipulator: Manipulator, performances: Sequence[SyntheticPerformance], rig: Rig
) -> Pairs:
    """Performances as these networks see them."""
    emotions = manipulator.settings.emotions
    return Pairs.of(performances, emotions, manipulator.mean, manipulator.spread, rig.mirror)


def measure_pairs(
    manipulator: Manipulator,
    performances: Sequence[SyntheticPerformance],
    rig: Rig,
    settings: PairedSettings,
) -> dict[str, float]:
    """Losses on other performances; "unchanged" is the error of doing nothing."""
    pairs = pairs_for(manipulator, performances, rig)
    generator = torch.Generator().manual_seed(0)
    batches = paired_batches(pairs, manipulator.settings.window, 512, generator)
    rows = []
    with torch.no_grad():
        for _ in range(4):
            batch = next(batches)
            losses = paired_losses(manipulator.networks, batch, settings)
            unchanged = (batch.real - batch.wanted).abs() * batch.weight[:, None, None]
            losses["unchanged"] = unchanged.mean()
            rows.append({name: value.item() for name, value in losses.items()})
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _mirrored(values: NDArray[np.floating], rig: Rig) -> NDArray[np.float32]:
    """(U,) the same for both sides, so that mirrored windows mean the mirrored face."""
    return ((values + values[rig.mirror]) / 2).astype(np.float32)


if __name__ == "__main__":
    main()
