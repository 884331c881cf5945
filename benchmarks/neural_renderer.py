"""Neural renderer: seconds per drawn frame and per training step, against a plain float32 loop.

    python -m benchmarks.neural_renderer [--runs 3] [--width 64] [--size 256] [--json renderer.json]

Networks of NED's layout and width with random weights. The baseline is what the published training
and rendering do, in this process and on this machine: float32, channels first, running statistics
kept, one frame after the other, discriminators asked three times per step, plain Adam, no
perceptual loss. Quoted are the fastest of the runs, which suffer least from what else the machine
does, as wall time and as processor time. Differences are those of the first picture: with random
weights the next ones magnify them, a trained network does not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import table

_DRAWN, _CHUNK = 8, 4  # frames per measurement


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--width", type=int, default=64, help="channels of the first layers")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures in pixels")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one run, narrow networks")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    width = 16 if options.quick else options.width
    runs = 1 if options.quick else options.runs
    data = measure(runs, width, options.size, options.threads)
    print(report(data))
    table.save(options.json, data)


def measure(runs: int, width: int, size: int, threads: int) -> dict[str, Any]:
    """All numbers of this script."""
    import numpy as np
    import torch

    from ned.core.device import is_short_fast
    from renderer.neural.inference import NeuralRenderer
    from renderer.neural.networks import Generator, initialise
    from renderer.neural.settings import TrainingSettings
    from renderer.neural.trainer import Chunk, Trainer

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    short = is_short_fast(torch.device("cpu"))
    random = np.random.default_rng(0)
    seen = random.integers(0, 256, (_DRAWN, 10, size, size), np.uint8)
    seen[:, 9] = 255
    generator = Generator(width)
    initialise(generator)
    ours = NeuralRenderer(generator, short=short)
    rows: list[dict[str, Any]] = []
    pictures: dict[str, Any] = {}

    def draw_plainly() -> None:
        pictures["plain"] = _draw_plainly(_plain(generator), seen)

    def draw() -> None:
        pictures["ours"] = list(ours.render(seen))

    for name, run in (("plain", draw_plainly), ("ours", draw)):
        rows.append({"task": "draw a frame", "by": name, **_fastest(run, runs, _DRAWN)})
    apart = np.abs(pictures["ours"][0].astype(float) - pictures["plain"][0]).mean()

    settings = TrainingSettings(
        size=size, roi=size * 9 // 32 // 2 * 2, width=width, judge_width=width
    )
    chunk = Chunk(
        torch.rand(1, _CHUNK + 2, 10, size, size),
        torch.rand(1, _CHUNK + 2, 3, size, size) * 2 - 1,
        {"mouth": torch.full((1, _CHUNK + 2, 2), size // 2)},
    )
    previous = torch.rand(1, 6, size, size)
    plain_step = _plain_step(settings, chunk, previous)
    rows.append({"task": "train on 4 frames", "by": "plain", **_fastest(plain_step, runs, 1)})
    del plain_step
    trainer = Trainer(settings, short=short)
    timed = _fastest(lambda: trainer.step(chunk, previous), runs, 1)
    rows.append({"task": "train on 4 frames", "by": "ours", **timed})
    return {"rows": rows, "short": short, "width": width, "size": size, "apart": float(apart)}


def report(data: dict[str, Any]) -> str:
    """The numbers as Markdown."""
    rows = [
        [
            *(ours["task"], plain["wall"], ours["wall"], plain["wall"] / ours["wall"]),
            plain["processor"] / ours["processor"],
        ]
        for plain, ours in zip(data["rows"][::2], data["rows"][1::2], strict=True)
    ]
    kind = "bfloat16, channels last" if data["short"] else "float32"
    headings = ["task", "plain float32, s", f"ours ({kind}), s", "ratio", "ratio of CPU time"]
    return "\n\n".join(
        [
            f"### Neural renderer, width {data['width']}, {data['size']} pixels",
            table.machine(),
            table.markdown(headings, rows),
            f"Mean difference of the first picture (random weights): {data['apart']:.2f} of 255.",
        ]
    )


def _fastest(run: Callable[[], object], runs: int, amount: int) -> dict[str, float]:
    """Seconds of the fastest run per unit, after one that warms up."""
    found = []
    for _ in range(runs + 1):
        wall, processor = time.perf_counter(), time.process_time()
        run()
        found.append((time.perf_counter() - wall, time.process_time() - processor))
    wall, processor = (min(values) for values in zip(*found[1:], strict=True))
    return {"wall": wall / amount, "processor": processor / amount}


def _plain(network: Any) -> Any:
    """A copy with torch's own instance normalisation, in training mode as published."""
    import copy

    from torch import nn

    from renderer.neural.networks import InstanceNorm

    plain = copy.deepcopy(network).train()
    for module in plain.modules():
        if isinstance(module, InstanceNorm):
            module.__class__ = nn.InstanceNorm2d
    return plain


def _draw_plainly(generator: Any, seen: Any) -> list[Any]:
    import numpy as np
    import torch

    from renderer.neural.inference import as_bytes

    frames = torch.from_numpy(np.concatenate([seen[:1], seen[:1], seen])).float() / 255
    made = [torch.zeros(1, 3, *frames.shape[2:])] * 2
    with torch.no_grad():
        for k in range(len(seen)):
            window = frames[k : k + 3].flatten(0, 1)[None]
            made.append(generator(window, torch.cat(made[-2:], dim=1)))
    return [as_bytes(picture[0]) for picture in made[2:]]


def _plain_step(settings: Any, chunk: Any, previous: Any) -> Callable[[], None]:
    """A step of the published training."""
    import torch

    from renderer.neural.losses import adversarial_loss, feature_loss, fooling_loss
    from renderer.neural.networks import Discriminator, Generator, initialise

    networks = [Generator(settings.width)]
    networks += [Discriminator(settings.judge_width) for _ in range(2)]  # type: ignore[list-item]
    for network in networks:
        initialise(network)
    generator, *judges = (_plain(network) for network in networks)
    weights = [weight for judge in judges for weight in judge.parameters()]
    drawing = torch.optim.Adam(generator.parameters(), settings.rate, settings.betas)
    judging = torch.optim.Adam(weights, settings.rate, settings.betas)
    conditioning, half = chunk.conditioning[0], settings.roi // 2
    middle = slice(settings.size // 2 - half, settings.size // 2 + half)

    def step() -> None:
        history, made = list(previous.chunk(2, dim=1)), []
        for k in range(_CHUNK):
            window = conditioning[k : k + 3].flatten(0, 1)[None]
            made.append(generator(window, torch.cat(history[-2:], dim=1)))
            history.append(made[-1].detach())
        seen, real, fake = conditioning[2:], chunk.faces[0, 2:], torch.cat(made)
        parts = ((seen, real, fake), tuple(p[..., middle, middle] for p in (seen, real, fake)))
        to_draw, to_judge = torch.zeros(()), torch.zeros(())
        for judge, (drawn, true, false) in zip(judges, parts, strict=True):
            of_real, of_made = judge(drawn, true), judge(drawn, false.detach())
            of_fake = judge(drawn, false)
            to_judge = to_judge + adversarial_loss(of_real, True) / 2
            to_judge = to_judge + adversarial_loss(of_made, False) / 2
            to_draw = to_draw + fooling_loss(of_fake) + 10 * feature_loss(of_fake, of_real)
        for optimiser, loss in ((drawing, to_draw), (judging, to_judge)):
            optimiser.zero_grad()
            loss.backward(retain_graph=optimiser is drawing)
            if optimiser is drawing:
                judge_gradients_are_dropped(weights)
            optimiser.step()

    return step


def judge_gradients_are_dropped(weights: list[Any]) -> None:
    """Forget what the generator's loss left in the discriminators."""
    for weight in weights:
        weight.grad = None


if __name__ == "__main__":
    main()
