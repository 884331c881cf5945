"""Speech: whether lips and jaw still do what the words ask for, and fit the sound."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ned.evaluation.bootstrap import correlation
from ned.evaluation.estimate import estimate
from ned.evaluation.landmarks import groups, signals, steadied
from ned.evaluation.metric import Metric, Score, Skip
from ned.evaluation.sound import Sound

_PARTS = {"aperture": "inner-lip opening", "width": "mouth width", "jaw": "jaw opening"}
_EYES = "distances of the outer eye corners"

METRICS = (
    *(
        Metric(
            f"speech.{part}_r", f"{words}, correlation", "", "higher", (-1, 1), 1.0,
            f"Pearson's correlation over time of the {words} in source and result, from tracked "
            "landmarks; 0 where the result's does not move at all. Left out where the source's "
            f"hardly moves (standard deviation below 0.005 {_EYES}).",
            "own; NED (CVPR 2022) used the jaw's correlation as a training loss",
        )
        for part, words in _PARTS.items()
    ),
    *(
        Metric(
            f"speech.{part}_error", f"{words}, error", "% of eye distance", "lower",
            (0, math.inf), 0.0,
            f"Mean absolute difference of the {words} between source and result, in percent of "
            "the frame's own distance between the outer eye corners.",
            "own",
        )
        for part, words in _PARTS.items()
    ),
    *(
        Metric(
            f"speech.closure_{name}", f"lip closures, {name}", "", "higher", (0, 1), 1.0,
            f"{meaning} A frame is closed where the inner-lip opening is below a quarter of the "
            "source's 90th percentile; one limit for both. Left out where the source does not "
            "speak (90th percentile below 0.05, or fewer than three closed frames).",
            "own",
        )
        for name, meaning in (
            ("precision", "Share of the result's closed frames that are closed in the source."),
            ("recall", "Share of the source's closed frames that are closed in the result."),
            ("f1", "Harmonic mean of precision and recall of closed frames."),
        )
    ),
    Metric(
        "speech.audio_lag", "delay of the sound against the lips", "frames", "near zero",
        (-12, 12), 0.0,
        "How much later than in the source the sound comes against the lips: the shift between "
        "the loudness of both sounds, less the shift between the inner-lip openings of both "
        "pictures, each where their correlation is highest. Positive: the sound is late.",
        "own",
    ),
    Metric(
        "speech.lip_sound_lag", "lips against sound, from the result alone", "frames",
        "near zero", (-12, 12), None,
        "The shift at which the result's inner-lip opening correlates best with the loudness of "
        "its sound (40 ms windows). Lips open before they are heard, so even footage as recorded "
        "does not give 0; left out where the correlation is below 0.4.",
        "own; the idea of Chung & Zisserman, 'Out of time' (2016), without its network",
    ),
    *(
        Metric(
            f"speech.{letter}_{kind}", f"{where} {words}", f"% of eye distance{per}", "lower",
            (0, math.inf), 0.0,
            f"Mean {what} difference of the {where} landmarks between result and ground truth, "
            "after the head's place, size and roll are taken out.",
            "LMD of Chen et al. (ECCV 2018), LVD of the talking-head literature",
        )
        for letter, where in (("m", "mouth"), ("f", "face"))
        for kind, words, what, per in (
            ("lmd", "landmark distance", "position", ""),
            ("lvd", "landmark velocity difference", "velocity", " per frame"),
        )
    ),
)  # fmt: skip

_CLOSED_SHARE, _LEAST_OPENING, _LEAST_CLOSED = 0.25, 0.05, 3
_LEAST_MOVEMENT = 0.005
_LEAST_FRAMES = 5
_LONGEST_LAG = 0.5  # seconds
_LAG_STEPS = (0.005, 0.0005)  # first coarse, then fine around the best
_LEAST_TOGETHER = 0.4  # correlation of lips and sound below which no lag can be told
_LEAST_ALIKE = 0.6  # the same of two curves that should be one


def lip_scores(
    source: NDArray[np.floating], result: NDArray[np.floating], block: int
) -> tuple[list[Score], list[Skip]]:
    """Correlations, errors and closures.

    Args:
        source, result: (T, 478, 2) pixels of the frames in which both faces were seen.
        block: frames that are resampled together for the intervals.
    """
    scores: list[Score] = []
    skips: list[Skip] = []
    before, after = signals(source), signals(result)
    for part, words in _PARTS.items():
        pair = np.stack([before[part], after[part]], axis=1)
        scores.append(estimate(f"speech.{part}_error", pair, _error, block))
        if len(pair) < _LEAST_FRAMES or pair[:, 0].std() < _LEAST_MOVEMENT:
            skips.append(Skip((f"speech.{part}_r",), f"the source's {words} hardly moves"))
        else:
            scores.append(estimate(f"speech.{part}_r", pair, _likeness, block))
    pair = np.stack([before["aperture"], after["aperture"]], axis=1)
    names = tuple(f"speech.closure_{name}" for name in ("precision", "recall", "f1"))
    limit = closure_limit(pair[:, 0])
    if limit is None:
        skips.append(Skip(names, "the source does not speak: its lips hardly open, or never close"))
        return scores, skips
    closed = (pair < limit).astype(np.float64)
    for name, statistic in zip(names, (_precision, _recall, _f1), strict=True):
        scores.append(estimate(name, closed, statistic, block))
    return scores, skips


def closure_limit(aperture: NDArray[np.floating]) -> float | None:
    """(T,) opening of the source's lips -> below which they are closed; None without speech."""
    if len(aperture) < _LEAST_FRAMES:
        return None
    usual = float(np.quantile(aperture, 0.9))
    limit = _CLOSED_SHARE * usual
    speaks = usual >= _LEAST_OPENING and (aperture < limit).sum() >= _LEAST_CLOSED
    return limit if speaks else None


def lag_scores(
    source: tuple[NDArray[np.floating], Sound | None],
    result: tuple[NDArray[np.floating], Sound | None],
    times: NDArray[np.float64],
    frame_rate: float,
) -> tuple[list[Score], list[Skip]]:
    """The metrics speech.audio_lag and speech.lip_sound_lag.

    Args:
        source, result: lip opening (T,), NaN where unknown, and sound (None without) of a video.
        times: (T,) seconds of the frames, of both videos.
    """
    scores: list[Score] = []
    skips: list[Skip] = []
    aperture, sound = result
    silent = [w for w, (_, s) in (("source", source), ("result", result)) if s is None]
    together = "speech.audio_lag"
    if silent or source[1] is None or sound is None:
        skips.append(Skip((together,), f"the {' and the '.join(silent)} has no sound"))
    else:
        lips, likeness = lag_of(source[0], _curve(times, aperture), times)
        heard, agreement = lag_of(source[1].envelope(times), sound.envelope, times)
        count = int(np.isfinite(aperture).sum())
        if not likeness >= _LEAST_ALIKE:
            skips.append(Skip((together,), f"the lips move too differently ({_r(likeness)})"))
        elif not agreement >= _LEAST_ALIKE:
            skips.append(Skip((together,), f"the sounds are too different ({_r(agreement)})"))
        else:
            scores.append(Score(together, (heard - lips) * frame_rate, count=count))
    alone = "speech.lip_sound_lag"
    if sound is None:
        skips.append(Skip((alone,), "the result has no sound"))
    else:
        lag, likeness = lag_of(aperture, sound.envelope, times)
        if likeness >= _LEAST_TOGETHER:
            count = int(np.isfinite(aperture).sum())
            scores.append(Score(alone, lag * frame_rate, count=count))
        else:
            words = f"lips and sound of the result do not go together ({_r(likeness)})"
            skips.append(Skip((alone,), words))
    return scores, skips


def lag_of(
    curve: NDArray[np.floating],
    other: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    times: NDArray[np.float64],
) -> tuple[float, float]:
    """By how much one curve is late against another.

    Args:
        curve: (T,) values, NaN where unknown. other: gives the other curve at any (L, T) seconds.
        times: (T,) seconds of `curve`.

    Returns:
        Seconds, positive where `other` is late; and the correlation at that shift, NaN where
        there is none (no movement, or too few frames).
    """
    known = np.isfinite(curve)
    if known.sum() < _LEAST_FRAMES:
        return 0.0, math.nan

    def best(lags: NDArray[np.float64]) -> tuple[float, float]:
        alike = np.array([_alike(curve[known], other(times[known] + lag)) for lag in lags])
        if not np.isfinite(alike).any():
            return 0.0, math.nan
        most = int(np.nanargmax(alike))
        return float(lags[most]), float(alike[most])

    count = round(_LONGEST_LAG / _LAG_STEPS[0])
    coarse, _ = best(np.arange(-count, count + 1) * _LAG_STEPS[0])
    count = round(_LAG_STEPS[0] / _LAG_STEPS[1])
    return best(coarse + np.arange(-count, count + 1) * _LAG_STEPS[1])


def _alike(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    pairs = np.stack([one, other], axis=-1).astype(np.float64)
    return float(correlation(pairs[None])[0])


def _curve(
    times: NDArray[np.float64], values: NDArray[np.floating]
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    known = np.isfinite(values)
    if not known.any():
        return lambda moments: np.full(moments.shape, np.nan)
    return lambda moments: np.interp(moments, times[known], values[known])


def _r(value: float) -> str:
    return "no movement, or silence" if math.isnan(value) else f"r = {value:.2f}"


def ground_truth_scores(
    result: NDArray[np.floating],
    truth: NDArray[np.floating],
    consecutive: NDArray[np.bool_],
    block: int,
) -> list[Score]:
    """Landmark and velocity distances to a ground truth.

    Args:
        result, truth: (T, 478, 2) pixels of frames with both faces.
        consecutive: (T - 1,) True where a frame follows the one before without gap or cut.
    """
    apart = 100 * (steadied(result) - steadied(truth))
    moved = np.diff(apart, axis=0)[consecutive]
    parts: Mapping[str, list[int]] = {"m": groups()["mouth"], "f": groups()["all"]}
    scores = []
    for letter, points in parts.items():
        for kind, values in (("lmd", apart), ("lvd", moved)):
            if len(values):
                each = np.linalg.norm(values[:, points], axis=2).mean(1)
                scores.append(estimate(f"speech.{letter}_{kind}", each, block=block))
    return scores


def _likeness(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R, N, 2) -> (R,) correlations, 0 where the second column does not move."""
    frozen = np.ptp(pairs[..., 1], axis=1) < 1e-6
    return np.where(frozen, 0.0, correlation(pairs))


def _error(pairs: NDArray[np.floating]) -> NDArray[np.floating]:
    return 100 * np.abs(pairs[..., 1] - pairs[..., 0]).mean(-1)


def _shares(closed: NDArray[np.floating]) -> tuple[NDArray[np.float64], ...]:
    both = closed.prod(-1).sum(-1)
    wanted, found = closed[..., 0].sum(-1), closed[..., 1].sum(-1)
    return both, wanted, found


def _precision(closed: NDArray[np.floating]) -> NDArray[np.float64]:
    both, wanted, found = _shares(closed)
    # Where the result never closes its lips there is no closure to be right: 0 if one was needed.
    return np.where(found > 0, both / np.maximum(found, 1), np.where(wanted > 0, 0.0, np.nan))


def _recall(closed: NDArray[np.floating]) -> NDArray[np.float64]:
    both, wanted, _ = _shares(closed)
    return np.where(wanted > 0, both / np.maximum(wanted, 1), np.nan)


def _f1(closed: NDArray[np.floating]) -> NDArray[np.float64]:
    both, wanted, found = _shares(closed)
    return np.where(wanted > 0, 2 * both / np.maximum(wanted + found, 1), np.nan)
