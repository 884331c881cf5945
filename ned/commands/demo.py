"""Demo: the portrait that comes with scikit-image, directed through all emotions."""

from __future__ import annotations

import cv2
import numpy as np

from ned.commands.direct import direct
from ned.core.errors import OutputError
from ned.core.progress import SILENT, Progress
from ned.core.script.emotions import (
    ANGRY,
    CONTEMPT,
    DISGUSTED,
    FEAR,
    HAPPY,
    NEUTRAL,
    SAD,
    SURPRISED,
)
from ned.options import DemoOptions, DirectOptions

_TAKE = (HAPPY, NEUTRAL, SAD, ANGRY, SURPRISED, FEAR, DISGUSTED, CONTEMPT)


def demo(options: DemoOptions, progress: Progress = SILENT) -> list[str]:
    """Direct a still portrait and say where to look.

    Raises:
        OutputError: the folder cannot be written.
    """
    from skimage.data import astronaut

    folder = options.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"folder '{folder}' cannot be made: {error.strerror}") from error
    portrait = folder / "portrait.png"
    close = np.ascontiguousarray(astronaut()[15:225, 120:330])
    large = cv2.resize(close, (600, 600), interpolation=cv2.INTER_LANCZOS4)
    if not cv2.imwrite(str(portrait), cv2.cvtColor(large, cv2.COLOR_RGB2BGR)):
        raise OutputError(f"'{portrait}' cannot be written; choose another folder")
    take = DirectOptions(
        clip=portrait,
        output=folder / "emotions.mp4",
        timeline=" ".join(
            f"{index * options.seconds / len(_TAKE):g}:{name}" for index, name in enumerate(_TAKE)
        ),
        duration=options.seconds,
        preset="fast",
        preview=folder / "side_by_side.mp4",
        contact_sheet=folder / "strip.png",
    )
    result = direct(take, progress)
    return [
        *result.summary,
        "",
        "Look at:",
        f"  {folder / 'strip.png'}         source above, result below",
        f"  {folder / 'side_by_side.mp4'}  with the curve of the emotions",
        f"  {folder / 'emotions.mp4'}      the result alone",
        "Next: ned direct your_clip.mp4 --emotion happy -o happy.mp4",
    ]
