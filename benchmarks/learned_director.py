"""Learned director: what the shipped networks do on performances they were not trained on.

    python -m benchmarks.learned_director [--takes 20] [--references] [--performances a.safetensors]

statistics   made-up performances against tracked ones (performances saved by `ned direct`, of
             talking actors): lip opening, its speed, closures and spectrum, size and tremble of
             units, and how alike the correlations of units are
proof        takes of made-up actors that training never saw, translated from every emotion to every
             other; a classifier (logistic regression on means and deviations of units over a take)
             that was trained on made-up takes as they are tells which emotion they show, once of
             the face that results as deca.fitting measures it again (like the takes), once of the
             units themselves ("unmeasured"). "jaw",
             "lips": the largest change of a jaw unit and of the opening of the inner lips after the
             speech lock. "diversity": mean distance between the translations of one take by
             different latents, in percent of the distance of the eye corners, against that between
             different takes of one emotion
references   with --references: real clips (NED_CLIPS) in the style of a real reference; what the
             judges (NED_JUDGE) say, and how lip openings correlate with the reference's
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import footage, table

BANDS = (0, 0.5, 1, 2, 4, 6, 9, 12.5)  # Hz
CLOSED = 0.03  # of the distance of the eye corners
REFERENCES = ("talk_512", "film_720p", "mead_W036_happy_3")
SOURCES = ("talk_512", "portrait_neutral_480", "four_faces")
HELD_OUT_SEED, CLASSIFIER_SEED, CLASSIFIER_TAKES = 101, 202, 450


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--takes", type=int, default=20, help="held-out takes that are translated")
    parser.add_argument("--weights", type=Path, help="of the manipulator; default: the shipped")
    parser.add_argument("--performances", type=Path, nargs="*", default=[])
    parser.add_argument("--references", action="store_true")
    parser.add_argument("--directors", nargs="+", default=["procedural", "learned"])
    parser.add_argument("--clips-folder", type=Path)
    parser.add_argument("--judge", type=Path, help="folder of the ONNX classifiers")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--quick", action="store_true", help="few takes, no references")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data: dict[str, Any] = {"machine": table.machine()}
    if options.performances:
        data["statistics"] = statistics(options.performances)
    takes, training = (4, 60) if options.quick else (options.takes, CLASSIFIER_TAKES)
    data["proof"] = proof(takes, training, options.weights)
    if options.references and not options.quick:
        data["references"] = references(options)
    print(report(data))
    table.save(options.json, data)


def statistics(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """The same numbers of tracked and of made-up performances."""
    from deca.rig import load_rig
    from manipulator.data.synthetic import make_performances
    from manipulator.speech_lock import SpeechLock
    from ned.core.face.performance import Performance

    rig = load_rig()
    lock = SpeechLock(rig)
    tracked = [Performance.load(path) for path in paths]
    found = [(p.units[p.track.present], 1 / float(np.median(np.diff(p.times)))) for p in tracked]
    made = [(p.units, 25.0) for p in make_performances(128, rig, 1)]
    mouth = lock.functionals[:-2].mean(0).astype(np.float32)
    rows, correlations = {}, {}
    for name, group in (("tracked", found), ("made up", made)):
        rows[name], correlations[name] = _statistics(group, mouth)
    upper = np.triu_indices(len(rig), 1)
    pair = [correlations[name][upper] for name in rows]
    rows["made up"]["correlations alike"] = float(np.corrcoef(*pair)[0, 1])
    return rows


def _statistics(
    group: list[tuple[NDArray[np.float32], float]], mouth: NDArray[np.float32]
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    rows: list[dict[str, Any]] = []
    correlations = []
    for units, rate in group:
        opening = units @ mouth
        opening = opening - np.quantile(opening, 0.02)
        power = np.abs(np.fft.rfft(opening - opening.mean())) ** 2
        band = np.digitize(np.fft.rfftfreq(len(opening), 1 / rate), BANDS)
        shut = opening < CLOSED
        rows.append(
            {
                "opening, median": np.median(opening),
                "opening, 90 %": np.quantile(opening, 0.9),
                "speed per s": np.abs(np.gradient(opening)).mean() * rate,
                "closed share": shut.mean(),
                "closures per s": (np.diff(shut.astype(int)) == 1).sum() / len(shut) * rate,
                "unit mean": units.mean(),
                "unit deviation": units.std(0).mean(),
                "tremble": np.sqrt((np.diff(units, 2, axis=0) ** 2).mean(0) / 6).mean(),
                "zero share": (units < 1e-3).mean(),
                **{
                    f"{low:g}-{high:g} Hz": power[1:][band[1:] == k + 1].sum() / power[1:].sum()
                    for k, (low, high) in enumerate(itertools.pairwise(BANDS))
                },
            }
        )
        noise = 1e-6 * np.random.default_rng(0).standard_normal(units.shape)
        correlations.append(np.corrcoef((units + noise).T))
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return means, np.mean(correlations, axis=0)


def proof(takes: int, training_takes: int, weights: Path | None) -> dict[str, Any]:
    """Labels, locks and diversity of translated held-out takes."""
    import torch

    from deca.rig import load_rig
    from manipulator.data.measurement import Errors, measure
    from manipulator.data.synthetic import make_performances
    from manipulator.learned import LearnedDirector
    from manipulator.speech_lock import SpeechLock
    from manipulator.train_rig import held_out

    torch.set_num_threads(1)
    rig = load_rig()
    lock, director = SpeechLock(rig), LearnedDirector.load(rig, weights)
    emotions = director.manipulator.settings.emotions
    training = make_performances(training_takes * len(emotions), rig, CLASSIFIER_SEED)
    features = np.stack([_features(p.units) for p in training])
    classify = _classifier(features, np.array([emotions.index(p.emotion) for p in training]))
    shown = held_out(rig, takes, HELD_OUT_SEED)
    plain = classify(np.stack([_features(p.units) for p in shown]))
    truth = np.array([emotions.index(p.emotion) for p in shown])

    results, asked = [], []
    jaw = lips = 0.0
    for number, performance in enumerate(shown):
        styles = director.styles(emotions, seed=number + 1)
        for target in range(len(emotions)):
            change = _translated(director, performance.units, styles[[target]])
            locked = lock.apply(change)
            jaw = max(jaw, float(np.abs(locked[:, lock.jaw]).max()))
            lips = max(lips, float(np.abs(locked @ lock.functionals.T).max()))
            results.append(performance.units + locked)
            asked.append((emotions.index(performance.emotion), target))
    source, target = np.array(asked).T
    unmeasured = classify(np.stack([_features(np.maximum(u, 0)) for u in results])) == target
    again = measure(results, [Errors(np.zeros_like(u), 0.0) for u in results], rig)
    hit = classify(np.stack([_features(units) for units in again])) == target
    each = range(len(emotions))
    neutral = [p for p in shown if p.emotion == "neutral"]
    diversity = {
        name: _diversity(director, neutral[:4], shown, name, rig)
        for name in emotions
        if name != "neutral"
    }
    return {
        "held-out takes as they are": float((plain == truth).mean()),
        "translated": float(hit.mean()),
        "unmeasured": float(unmeasured.mean()),
        "by target": {emotions[k]: float(hit[target == k].mean()) for k in each},
        "by source": {emotions[k]: float(hit[source == k].mean()) for k in each},
        "as they are": {emotions[k]: float((plain == truth)[truth == k].mean()) for k in each},
        "sequences": len(hit),
        "jaw": jaw,
        "lips": lips,
        "diversity": diversity,
    }


def _translated(director: Any, units: NDArray[np.float32], styles: Any) -> NDArray[np.float32]:
    times = np.arange(len(units)) / 25
    own = director.style_of_units(units, times)
    return director.change_from(own, units, times, styles, np.ones((len(units), 1)))


def _features(units: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([units.mean(0), units.std(0), np.quantile(units, 0.8, axis=0)])


def _classifier(features: NDArray[np.float32], labels: NDArray[np.int64]) -> Any:
    """Multinomial logistic regression with a ridge."""
    import torch

    mean, spread = features.mean(0), features.std(0) + 1e-2
    given = torch.from_numpy(((features - mean) / spread).astype(np.float32))
    wanted = torch.from_numpy(labels)
    layer = torch.nn.Linear(given.shape[1], int(labels.max()) + 1)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=200)

    def loss() -> Any:
        optimiser.zero_grad()
        error = torch.nn.functional.cross_entropy(layer(given), wanted)
        error = error + 3e-3 * (layer.weight**2).sum()
        error.backward()
        return error

    optimiser.step(loss)

    def classify(rows: NDArray[np.float32]) -> NDArray[np.int64]:
        with torch.no_grad():
            scores = layer(torch.from_numpy(((rows - mean) / spread).astype(np.float32)))
        return scores.argmax(1).numpy()

    return classify


def _diversity(
    director: Any, neutral: Sequence[Any], shown: Sequence[Any], emotion: str, rig: Any
) -> dict[str, float]:
    """Distances in percent of that of the eye corners: between latents, and between takes."""
    apart = []
    for performance in neutral:
        changes = [
            _translated(director, performance.units, director.styles([emotion], seed=k)).mean(0)
            for k in range(1, 9)
        ]
        apart.append(_mean_distance(np.stack(changes), rig))
    takes = np.stack([p.change.mean(0) for p in shown if p.emotion == emotion])
    return {"latents": float(np.mean(apart)), "takes": _mean_distance(takes, rig)}


def _mean_distance(changes: NDArray[np.float32], rig: Any) -> float:
    shapes = rig.displacement(changes)
    pairs = itertools.combinations(shapes, 2)
    return float(np.mean([np.linalg.norm(a - b, axis=1).mean() * 100 for a, b in pairs]))


def references(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Real clips in the style of a real, happy one, by both directors."""
    import dataclasses

    from ned.commands.direct import direct
    from ned.commands.evaluate import see
    from ned.core.film.clip import Clip
    from ned.evaluation.classifier import find_classifiers
    from ned.evaluation.comparison import Comparison
    from ned.evaluation.emotion_judge import EmotionJudge
    from ned.evaluation.judges import Judges
    from ned.evaluation.video_networks import VideoNetworks
    from ned.options import DirectOptions

    folder = footage.clips_folder(options.clips_folder)
    judge = footage.folder(options.judge, "NED_JUDGE", "shared/judge")
    classifiers = find_classifiers(judge, threads=1) if judge is not None else []
    judges = Judges([EmotionJudge(classifiers)] if classifiers else [])
    happy = footage.find_clips(folder, list(REFERENCES))
    rows = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for path in footage.find_clips(folder, list(SOURCES)):
            short = work / path.name
            footage.write_length(path, short, options.seconds, repeated=False)
            source = see(Clip.open(short))
            pairs = [(one, two) for one in happy for two in options.directors]
            for reference, director in pairs:
                if reference.stem == path.stem:
                    continue
                result = work / f"{path.stem}_{director}.mp4"
                done = direct(
                    dataclasses.replace(
                        DirectOptions(short, result, reference=reference, sidecar=False),
                        director=director,
                    )
                )
                comparison = Comparison(
                    source, see(Clip.open(result)), judges, VideoNetworks(), "happy"
                )
                comparison.run()
                row = {"reference": reference.stem, "clip": path.stem, "director": director}
                row |= _reference_row(comparison, done.performance, reference)
                rows.append(row)
                print(row, file=sys.stderr, flush=True)
    return rows


_REFERENCES: dict[Path, Any] = {}


def _reference_row(comparison: Any, performance: Any, reference: Path) -> dict[str, float]:
    from deca.fitting import fit
    from deca.rig import load_rig
    from manipulator.speech_lock import SpeechLock
    from ned.commands.direct import track_actor
    from ned.core.film.clip import Clip

    if reference not in _REFERENCES:
        _REFERENCES[reference] = fit(track_actor(Clip.open(reference), 0))
    other, lock = _REFERENCES[reference], SpeechLock(load_rig())
    opening = lock.openings(other.units, other.identity)
    before = lock.openings(performance.units, performance.identity)
    after = lock.openings(performance.directed, performance.identity)
    times = np.arange(0, min(performance.times[-1], other.times[-1]), 1 / 25)
    there = np.interp(times, other.times, opening)
    tracks = [np.interp(times, performance.times, each) for each in (before, after)]
    gains = [s.value for s in comparison.scores if s.metric == "emotion.change"]
    aperture = [s.value for s in comparison.scores if s.metric == "speech.aperture_r"]
    return {
        "happy, source": float(np.mean([_happy(each) for each in comparison.labels])),
        "happy, gain": float(gains[0]) if gains else float("nan"),
        "aperture r, source": float(aperture[0]) if aperture else float("nan"),
        "lips of source and reference, r": float(np.corrcoef(tracks[0], there)[0, 1]),
        "lips of result and reference, r": float(np.corrcoef(tracks[1], there)[0, 1]),
    }


def _happy(labels: Any) -> float:
    return float(labels.source[:, labels.names.index("happy")].mean())


def report(data: dict[str, Any]) -> str:
    """Everything as Markdown."""
    lines = [f"### Learned director ({data['machine']})"]
    if "statistics" in data:
        rows = data["statistics"]
        names = list(rows["made up"])
        cells = [[name, rows["tracked"].get(name), rows["made up"][name]] for name in names]
        lines += ["", table.markdown(("", "tracked", "made up"), cells)]
    found = data["proof"]
    lines += [
        "",
        f"{found['sequences']} translations of held-out takes: {100 * found['translated']:.1f} % "
        f"labelled as the target ({100 * found['unmeasured']:.1f} % unmeasured; "
        f"{100 * found['held-out takes as they are']:.1f} % of takes as they are); "
        f"jaw {found['jaw']:.1g}, lips {found['lips']:.1g} at most.",
        "",
        table.markdown(
            ("emotion", "as it is", "as target", "as source", "latents apart %", "takes apart %"),
            [
                [
                    *(name, found["as they are"][name], share, found["by source"][name]),
                    found["diversity"].get(name, {}).get("latents"),
                    found["diversity"].get(name, {}).get("takes"),
                ]
                for name, share in found["by target"].items()
            ],
        ),
    ]
    if "references" in data:
        rows = data["references"]
        headings = tuple(rows[0])
        lines += ["", table.markdown(headings, [[row[name] for name in headings] for row in rows])]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
