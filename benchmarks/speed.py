"""Speed: how long directing a 1080p clip takes, against decoding and encoding it alone.

    python -m benchmarks.speed [--runs 3] [--seconds 10] [--json speed.json]

The first table runs `ned direct` and a bare PyAV decode + encode of the same clip (libx264 with the
crf and preset that `ned direct` uses by default, its own threads, sound copied), both as processes
of their own and by turns, and quotes medians. It counts everything from the command line on; "CPU"
is the processor time of all threads, which other programs on the machine disturb less. The clip is
measured as it is and, since starting Python and loading models costs the same for any length,
repeated to --seconds. The lower the crf, the longer the encoder takes on both sides and the nearer
the ratio comes to 1, so the longer clip is also measured with crf 9, as for masters, on both sides.
The second table says where the time goes, each stage on its own in one process; the third how many
frames per second the inner steps manage. Real footage is taken from NED_CLIPS; see footage.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import footage, table
from benchmarks.clock import clocked, timed

LIMIT_RATIO, LIMIT_RATIO_SHORT = 1.6, 1.8  # of the repeated clip, of the clip as it is
_MASTER_CRF = "9"
LIMITS = {"fitting": 300, "directing": 5000, "warp, 2 threads": 100}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--clips-folder", type=Path)
    parser.add_argument("--clip", type=Path, help="measure on this clip")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="length of the repeated clip")
    parser.add_argument("--emotion", default="happy")
    parser.add_argument("--quick", action="store_true", help="the clip as it is only, one run")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--bare", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        encode_again(*options.bare)
        return
    with tempfile.TemporaryDirectory() as folder:
        data = measure(options, Path(folder))
    print(report(data))
    table.save(options.json, data)


def measure(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """All numbers of this script."""
    clip = options.clip or footage.full_hd_clip(options.clips_folder, work)
    runs = 1 if options.quick else options.runs
    usual = default_quality()
    cases = [(clip, usual, LIMIT_RATIO_SHORT)]
    if not options.quick:
        longer = work / f"{clip.stem}_{options.seconds:g}s{clip.suffix}"
        footage.write_length(clip, longer, options.seconds)
        master = (_MASTER_CRF, usual[1])
        cases += [(longer, master, LIMIT_RATIO), (longer, usual, LIMIT_RATIO)]
    whole = [
        {**measure_whole(path, options.emotion, runs, work, quality), "limit": limit}
        for path, quality, limit in cases
    ]
    last = cases[-1][0]
    data: dict[str, Any] = {"machine": table.machine(), "runs": runs, "whole": whole}
    data["quality"] = default_quality()
    data["stages"], performance = measure_stages(last, options.emotion, runs, work)
    data["steps"] = measure_steps(performance, options.emotion, max(runs, 3), work)
    return data


def measure_whole(
    clip: Path, emotion: str, runs: int, work: Path, quality: tuple[str, str]
) -> dict[str, Any]:
    """`ned direct` and the bare encoding of one clip, by turns."""
    result = work / "result.mp4"
    crf, preset = quality
    flags = ["--emotion", emotion, "-o", str(result), "--no-sidecar"]
    flags += ["--crf", crf, "--preset", preset]
    directing = [sys.executable, "-m", "ned", "direct", str(clip), *flags]
    bare = [sys.executable, __file__, "--bare", str(clip), str(work / "bare.mp4"), crf, preset]
    timings: dict[str, list[tuple[float, float]]] = {"directing": [], "bare": []}
    for _ in range(runs):
        timings["bare"].append(timed(bare))
        timings["directing"].append(timed(directing))
    medians = {
        name: tuple(statistics.median(run[k] for run in times) for k in (0, 1))
        for name, times in timings.items()
    }
    return {
        "clip": clip.stem,
        "crf": float(crf),
        "seconds": medians["directing"][0],
        "bare_seconds": medians["bare"][0],
        # the ratio of neighbouring runs: both met the same load
        "ratio": statistics.median(
            d[0] / b[0] for d, b in zip(timings["directing"], timings["bare"], strict=True)
        ),
        "cpu_seconds": medians["directing"][1],
        "bare_cpu_seconds": medians["bare"][1],
        "cpu_ratio": medians["directing"][1] / medians["bare"][1],
        "timings": timings,
    }


def default_quality() -> tuple[str, str]:
    """The crf and preset with which `ned direct` encodes unless told otherwise."""
    from ned.core.film.encoder import QUALITIES, EncoderSettings

    usual = QUALITIES["libx264"][EncoderSettings.quality]
    return usual["crf"], usual["preset"]


def encode_again(source: str, target: str, crf: str, preset: str) -> None:
    """The baseline: decode a clip and encode it as `ned direct` would, sound copied."""
    import av

    with av.open(source) as origin, av.open(target, "w") as copy:
        stream: Any = origin.streams.video[0]
        stream.thread_type = "AUTO"
        encoder: Any = copy.add_stream("libx264", rate=stream.average_rate)
        context = encoder.codec_context
        context.width, context.height, context.pix_fmt = stream.width, stream.height, stream.pix_fmt
        context.time_base = stream.time_base
        context.thread_type = "AUTO"
        context.options = {"crf": crf, "preset": preset}
        sounds = {s.index: copy.add_stream_from_template(s) for s in origin.streams.audio}
        for packet in origin.demux():
            if packet.stream.index in sounds and packet.dts is not None:
                packet.stream = sounds[packet.stream.index]
                copy.mux(packet)
            elif packet.stream.index == stream.index:
                for frame in packet.decode():
                    frame.pict_type = 0
                    copy.mux(encoder.encode(frame))
        copy.mux(encoder.encode())


def measure_stages(
    path: Path, emotion: str, runs: int, work: Path
) -> tuple[list[dict[str, Any]], Any]:
    """Milliseconds per frame of every stage on its own, and the directed performance."""
    start = (
        "import ned.cli, ned.commands.direct as d, renderer.rendering as r; "
        "from preprocessing.framework import load_mediapipe; "
        "load_mediapipe(); r.Shading(d.load_rig())"
    )
    started = [timed([sys.executable, "-c", start]) for _ in range(runs)]
    from deca.fitting import fit
    from deca.rig import load_rig
    from manipulator.directing import direct_performance
    from manipulator.director import Direction
    from ned.commands.direct import track_actor
    from ned.core.film.clip import Clip
    from ned.core.film.video import EncoderSettings, VideoWriter
    from ned.core.script.timeline import Timeline
    from renderer.rendering import rendered
    from renderer.strength import edit_strength

    clip, rig = Clip.open(path), load_rig()
    direction = Direction(timeline=Timeline.split((emotion,), clip.duration or 1, (emotion,)))
    timings: dict[str, list[tuple[float, float]]] = {}

    def staged(name: str, work: Callable[..., Any], *given: Any) -> Any:
        result, wall, cpu = clocked(lambda: work(*given))
        timings.setdefault(name, []).append((wall, cpu))
        return result

    crf, preset = default_quality()
    settings = EncoderSettings(crf=float(crf), preset=preset)

    def write(frames: Iterator[Any]) -> None:
        with VideoWriter(work / "stage.mp4", clip, settings) as writer:
            for frame in frames:
                writer.write(frame)

    def exhaust(frames: Iterator[Any]) -> None:
        for _ in frames:
            pass

    performance: Any = None
    for turn in range(runs + 1):
        if turn == 1:
            timings.clear()  # the first turn loaded models and compiled loops
        staged("decoding", exhaust, clip.frames())
        track = staged("tracking (with decoding)", track_actor, clip, 0)
        source = staged("fitting", fit, track, rig)
        directed = staged("directing", direct_performance, source, direction, rig)
        performance = dataclasses.replace(source, directed=source.units + directed.change)
        render = (clip, performance, edit_strength(performance), rig)
        staged("rendering (with decoding)", exhaust, rendered(*render))
        staged("encoding (with decoding)", write, clip.frames())
        staged("rendering and encoding", write, (result for _, result in rendered(*render)))
    stages = [
        {
            "stage": "starting (imports, MediaPipe, rig, shading maps), seconds",
            "wall": statistics.median(t[0] for t in started),
            "cpu": statistics.median(t[1] for t in started),
        }
    ]
    count = len(performance)
    stages += [
        {
            "stage": f"{name}, ms per frame",
            "wall": 1000 * statistics.median(t[0] for t in times) / count,
            "cpu": 1000 * statistics.median(t[1] for t in times) / count,
        }
        for name, times in timings.items()
    ]
    return stages, performance


def measure_steps(performance: Any, emotion: str, runs: int, work: Path) -> list[dict[str, Any]]:
    """Frames per second of fitting and directing a long track, and of the warp of one face."""
    import cv2
    import numpy as np

    from deca.fitting import fit
    from deca.rig import load_rig
    from manipulator.directing import direct_performance
    from manipulator.director import Direction
    from ned.commands.direct import track_actor
    from ned.core.film.clip import Clip, Frame
    from ned.core.script.timeline import Timeline
    from renderer.rendering import open_renderer, rendered
    from renderer.strength import edit_strength

    rig = load_rig()
    track = _longer(performance.track, 3000)
    fitted = fit(track, rig)
    direction = Direction(timeline=Timeline.split((emotion,), 120.0, (emotion,)))

    still = work / "face.png"
    cv2.imwrite(str(still), footage.portrait_frame((1920, 1080))[..., ::-1])
    picture = Clip.open(still, duration=12.0)
    frame = next(iter(picture.frames()))

    class Repeated(Clip):
        """A clip whose frames cost nothing to decode."""

        def frames(self) -> Iterator[Frame]:
            for index in range(self.frame_count or 0):
                yield dataclasses.replace(frame, index=index)

    values = {f.name: getattr(picture, f.name) for f in dataclasses.fields(picture)}
    clip = Repeated(**values)
    face = fit(track_actor(picture, 0), rig)
    height = float(np.ptp(face.track.landmarks(0, 1)[0, :468, 1]))
    directed = direct_performance(face, direction, rig)
    face = dataclasses.replace(face, directed=face.units + directed.change)
    strength = edit_strength(face)

    def warp(threads: int) -> None:
        renderer = dataclasses.replace(open_renderer("warp"), threads=threads)
        for _ in rendered(clip, face, strength, rig, renderer=renderer):
            pass

    jobs: list[tuple[str, int, Callable[[], Any]]] = [
        ("fitting", len(track), lambda: fit(track, rig)),
        ("directing", len(track), lambda: direct_performance(fitted, direction, rig)),
        ("warp, 1 thread", len(face), lambda: warp(1)),
        ("warp, 2 threads", len(face), lambda: warp(2)),
    ]
    rows = []
    for name, count, job in jobs:
        times = [clocked(job)[1:] for _ in range(runs)]
        seconds, cpu = (statistics.median(t[k] for t in times) for k in (0, 1))
        rows.append(
            {
                "step": name,
                "frames": count,
                "fps": count / seconds,
                "best_fps": count / min(t[0] for t in times),
                "cpu_ms": 1000 * cpu / count,
                "target": LIMITS.get(name, 0),
                "face_height": height if name.startswith("warp") else 0.0,
            }
        )
    return rows


def report(data: dict[str, Any]) -> str:
    """The numbers as Markdown."""
    rows = [
        [
            *(w["clip"], w["crf"], w["bare_seconds"], w["seconds"], w["ratio"]),
            *(w["bare_cpu_seconds"], w["cpu_seconds"], w["cpu_ratio"]),
            w["limit"],
            table.verdict(w["ratio"], w["limit"], at_least=False),
        ]
        for w in data["whole"]
    ]
    headings = [
        "clip",
        "crf",
        "bare s",
        "ned direct s",
        "ratio",
        "bare CPU s",
        "ned CPU s",
        "CPU ratio",
    ]
    lines = [
        f"### Speed ({data['machine']}; median of {data['runs']}; "
        f"crf {data['quality'][0]}, preset {data['quality'][1]})\n",
        table.markdown([*headings, "at most", "met"], rows),
        "\nWhere the time goes, each stage on its own:\n",
        table.markdown(
            ["stage", "wall", "CPU"], [[s["stage"], s["wall"], s["cpu"]] for s in data["stages"]]
        ),
        "\nInner steps (the warp on a face of "
        f"{data['steps'][-1]['face_height']:.0f} pixels in a 1080p frame):\n",
        table.markdown(
            ["step", "frames/s", "best run", "CPU ms per frame", "target", "met"],
            [
                [
                    *(s["step"], s["fps"], s["best_fps"], s["cpu_ms"], s["target"] or None),
                    table.verdict(s["fps"], s["target"]) if s["target"] else "-",
                ]
                for s in data["steps"]
            ],
        ),
    ]
    return "\n".join(lines)


def _longer(track: Any, count: int) -> Any:
    """A track repeated to `count` frames, in one shot."""
    import numpy as np

    frames = np.arange(count) % len(track)
    fields = {
        f.name: getattr(track, f.name)[frames]
        for f in dataclasses.fields(track)
        if f.name not in ("size", "clip", "times", "shots")
    }
    return dataclasses.replace(
        track, times=np.arange(count) / 25.0, shots=np.zeros(count, np.int32), **fields
    )


if __name__ == "__main__":
    main()
