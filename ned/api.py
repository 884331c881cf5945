"""The Python API: what `import ned` offers, on paths and arrays; the command line does the same.

import ned
ned.direct("a.mp4", emotion="sad", output="b.mp4")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deca.fitting import fit
from deca.rig import load_rig
from manipulator.directing import direct_performance
from manipulator.director import Direction
from ned.commands.direct import DirectResult, track_actor
from ned.commands.direct import direct as _direct
from ned.commands.evaluate import score
from ned.core.errors import (
    AssetError,
    InputError,
    NedError,
    NoFaceError,
    OutputError,
)
from ned.core.face.performance import Performance
from ned.core.face.track import Track
from ned.core.film.clip import Clip, Frame
from ned.core.progress import SILENT, Progress, SilentProgress
from ned.core.script.timeline import Timeline
from ned.evaluation.result import PairResult, SetResult
from ned.options import DirectOptions, EvaluateOptions
from preprocessing.track import track_faces
from renderer.rendering import edit_at

__all__ = [
    "AssetError",
    "Clip",
    "DirectResult",
    "Direction",
    "Frame",
    "InputError",
    "NedError",
    "NoFaceError",
    "OutputError",
    "PairResult",
    "Performance",
    "Progress",
    "SetResult",
    "SilentProgress",
    "Timeline",
    "Track",
    "direct",
    "direct_performance",
    "edit_at",
    "evaluate",
    "fit",
    "load_rig",
    "perform",
    "track",
]


def direct(
    clip: str | Path,
    emotion: str | Sequence[str] = (),
    output: str | Path | None = None,
    *,
    progress: Progress = SILENT,
    **options: Any,
) -> DirectResult:
    """Show another emotion in a clip, as `ned direct` does.

    Args:
        clip: footage, or a picture.
        emotion: such as "sad", "happy:0.6+surprised:0.4", or several that share the clip.
        output: the result; beside the clip, with the emotion in its name, if None.
        progress: a hook; told about frames, and given the track, performance and film.
        options: further fields of `ned.options.DirectOptions`, such as timeline="0:sad 2:angry",
            reference="other.mp4", intensity=0.8, renderer="hybrid" with actor_model="folder".

    Raises:
        InputError, NoFaceError, AssetError, OutputError: As the command tells in one line.
    """
    emotions = (emotion,) if isinstance(emotion, str) else tuple(emotion)
    paths = ("reference", "actor_model", "preview", "contact_sheet", "performance")
    paths += ("save_performance", "emotions")
    for name in paths:
        if isinstance(options.get(name), str):
            options[name] = Path(options[name])
    target = None if output is None else Path(output)
    return _direct(DirectOptions(Path(clip), target, emotions, **options), progress)


def track(clip: str | Path | Clip, *, progress: Progress = SILENT) -> list[Track]:
    """Where every face of a clip is, the largest first.

    Raises:
        InputError: The clip cannot be read. NoFaceError: It shows no face.
    """
    return track_faces(_opened(clip), progress=progress)


def perform(clip: str | Path | Clip, actor: int = 0, *, progress: Progress = SILENT) -> Performance:
    """What the face of one actor (0 for the largest) does in every frame of a clip.

    Raises:
        InputError: The clip cannot be read, or shows fewer actors.
        NoFaceError: It shows no face.
    """
    return fit(track_actor(_opened(clip), actor, progress), progress=progress)


def evaluate(
    source: str | Path,
    result: str | Path | None = None,
    output: str | Path | None = None,
    *,
    progress: Progress = SILENT,
    **options: Any,
) -> SetResult:
    """Score edited clips against their sources, as `ned evaluate` does; report and tables as well.

    Args:
        source: a clip, a folder of clips, or a .csv list of pairs. result: a clip or a folder.
        output: folder of the report; beside the result if None.
        options: further fields of `ned.options.EvaluateOptions`, such as emotion="sad".

    Returns:
        What was measured; `.pairs[0].scores` of the first result.

    Raises:
        InputError, AssetError, OutputError: As the command tells in one line.
    """
    for name in ("destination", "ground_truth", "emotions", "embedding"):
        if isinstance(options.get(name), str):
            options[name] = Path(options[name])
    made, folder = (None if path is None else Path(path) for path in (result, output))
    return score(EvaluateOptions(Path(source), made, folder, **options), progress)


def _opened(clip: str | Path | Clip) -> Clip:
    return clip if isinstance(clip, Clip) else Clip.open(Path(clip))
