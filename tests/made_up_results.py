"""Results of evaluations that never took place, for tests of tables and pages."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ned.evaluation.metric import Metric, Score, Skip
from ned.evaluation.result import Labels, PairResult, Picture, Series, SetResult

NAMES = ("neutral", "happy", "sad", "angry", "surprised", "fear", "disgusted", "contempt")

METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "emotion.target", "target emotion", "%", "higher", (0, 100), None,
            "Mean probability that a classifier gives to the emotion that was asked for.", "own",
        ),
        Metric(
            "emotion.change", "change of the target emotion", "%", "higher", (-100, 100), 0.0,
            "The same, less that of the source.", "Magnusson et al. 2021",
        ),
        Metric(
            "speech.aperture_r", "lip opening, correlation", "", "higher", (-1, 1), 1.0,
            "Pearson's correlation of the inner-lip opening in source and result.", "own",
        ),
        Metric(
            "speech.lag", "audio lag", "frames", "near zero", (-12, 12), 0.0,
            "By how much the sound lags behind the lips.", "own",
        ),
        Metric(
            "identity.rig", "identity distance", "", "lower", (0, math.inf), 0.0,
            "Distance of the identities that the rig is fitted with.", "own",
        ),
        Metric(
            "background.psnr", "background fidelity", "dB", "higher", (0, math.inf), math.inf,
            "Peak signal-to-noise ratio outside of the face.", "ITU-T J.340",
        ),
        Metric(
            "realism.lpips", "perceptual distance", "", "lower", (0, math.inf), 0.0,
            "LPIPS of the face crops.", "Zhang et al. 2018",
        ),
        Metric(
            "temporal.jitter", "jitter", "% of eye distance", "lower", (0, math.inf), None,
            "Acceleration of landmarks that the source does not have.", "own",
        ),
    )
}  # fmt: skip


def faces(image: NDArray[np.uint8], count: int, side: int = 256) -> list[Picture]:
    """The same picture at several moments; redder and redder in the result."""
    import cv2

    small = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))
    pictures = []
    for index in range(count):
        red = small.astype(np.float32)
        red[..., 0] += 12 * index
        red = np.clip(red, 0, 255).astype(np.uint8)
        pictures.append(Picture(index * 0.84, small, red))
    return pictures


def noise_faces(count: int, side: int = 256, seed: int = 0) -> list[Picture]:
    """Pictures that no encoder can make small."""
    generator = np.random.default_rng(seed)
    return [
        Picture(float(i), *generator.integers(0, 256, (2, side, side, 3)).astype(np.uint8))
        for i in range(count)
    ]


def pair(
    name: str = "clip",
    method: str = "",
    target: str | None = "happy",
    seconds: float = 10,
    seed: int = 0,
    pictures: list[Picture] | None = None,
) -> PairResult:
    """One result with every kind of score, curves and labels."""
    generator = np.random.default_rng(seed)
    count = round(seconds * 25)
    times = np.arange(count) / 25
    opening = (np.sin(times * 9) ** 2 * (np.sin(times * 1.3) > -0.6)).astype(np.float32)
    edited = opening + generator.normal(0, 0.04, count).astype(np.float32)
    edited[count // 3 : count // 3 + 12] = math.nan
    happy = (1 / (1 + np.exp(-3 * np.sin(times / 2 + generator.normal())))).astype(np.float32)
    source = generator.dirichlet(np.array([6, *[0.5] * 7]), count).astype(np.float32)
    weights = np.full(8, 0.4)
    weights[NAMES.index(target) if target in NAMES else 0] = 5
    result = generator.dirichlet(weights, count).astype(np.float32)
    better = 3 * generator.random()
    return PairResult(
        name=name,
        source=Path("takes") / f"{name}.mp4",
        result=Path("results") / method / f"{name}.mp4",
        target=target,
        method=method,
        frames=count,
        size=(1920, 1080),
        frame_rate=25.0,
        scores=[
            Score("emotion.target", 55 + 9 * better, 50 + 9 * better, 60 + 9 * better, count, "a"),
            Score("emotion.target", 48 + 9 * better, 44 + 9 * better, 53 + 9 * better, count, "b"),
            Score("emotion.change", 40 + 9 * better, 35 + 9 * better, 47 + 9 * better, count, "a"),
            Score("speech.aperture_r", 0.9 + 0.03 * better, 0.85, 0.993, count),
            Score("speech.lag", -0.5 * better, count=1),
            Score("identity.rig", 0.04 * better, 0, 0.15, count),
            Score("background.psnr", math.inf, math.inf, math.inf, count),
            Score("temporal.jitter", 0.0213 * better, 0.012, 0.09, count),
        ],
        skips=[Skip(("realism.lpips",), "the weights of LPIPS are missing: ned assets add FILE")],
        series=[
            Series("Lip opening", "eye distances", times, {"source": opening, "result": edited}),
            Series("Probability of happy", "", times, {"a": happy, "b": happy**2}),
        ],
        pictures=pictures or [],
        labels=[Labels("a", NAMES, source, result)],
    )


def several(count: int, methods: tuple[str, ...] = ("ned", "wav2lip-emotion")) -> SetResult:
    """Pairs of several methods, with means."""
    targets = ("happy", "sad", "angry")
    pairs = [
        pair(f"take {i // len(methods):03d} {m}", m, targets[i % 3], seed=i)
        for i in range(count)
        for m in [methods[i % len(methods)]]
    ]
    means = {}
    for method in methods:
        own = [p for p in pairs if p.method == method]
        means[method] = []
        for index, score in enumerate(own[0].scores if own else ()):
            values = np.array([p.scores[index].value for p in own])
            middle = float(values.mean())
            spread = 0.0 if math.isinf(middle) else float(values.std()) + 0.01
            means[method].append(
                Score(score.metric, middle, middle - spread, middle + spread, len(own), score.judge)
            )
    return SetResult(pairs, means=means)
