"""Options of `evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ned.core.errors import InputError
from ned.options.direct import OptionalPath

_OptionalName = Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")]


@dataclass(frozen=True)
class EvaluateOptions:
    """Score edited videos against their sources: emotion, speech, identity, picture, calm."""

    source: Positional[Path]
    """The clip as recorded; or a folder of such clips; or a .csv with the columns source, result
    and, where wanted, method, emotion, destination, ground_truth."""
    result: Positional[Path | None] = None
    """The edited clip of any tool; or a folder of them, whose sub-folders are methods."""
    output: Annotated[Path | None, arg(aliases=("-o",), metavar="PATH", help_behavior_hint="")] = (
        None
    )
    """Folder for report.html, scores.json and scores.csv. By default beside the result."""
    emotion: _OptionalName = None
    """Emotion that was asked for; by default told by the result's record or name."""
    emotions: OptionalPath = None
    """Your own emotions, a .yaml file (docs/emotions.md) that also says what they look like."""
    destination: OptionalPath = None
    """Clip of the emotion wanted, played by the same actor, for the normalised change of valence
    and arousal."""
    ground_truth: OptionalPath = None
    """The clip that the result should equal, for landmark distances."""
    judge: Annotated[tuple[Path, ...], arg(metavar="PATH")] = ()
    """Emotion classifiers: .yaml files (docs/evaluation.md), or folders of them. By default those
    that `ned assets` has."""
    embedding: OptionalPath = None
    """Face embedding for identity, a .yaml file. By default the one that `ned assets` has."""
    actor: int = 0
    """Which face of the source, counted from 0 for the largest."""
    study: OptionalPath = None
    """Make a blinded rating page of all methods' results in this folder, and score nothing."""
    answers: Annotated[tuple[Path, ...], arg(metavar="PATH")] = ()
    """Answer files of raters: give the study's key as SOURCE and get the scores of the study."""
    seed: int = 0
    """Order of a study."""

    def __post_init__(self) -> None:
        if self.actor < 0:
            raise InputError(f"--actor is {self.actor}, give 0 for the largest face, 1, 2, ...")
        if self.result is None and self.source.suffix.lower() != ".csv" and not self.answers:
            raise InputError(
                "nothing to compare with: give SOURCE and RESULT, or a .csv list of both"
            )
        if self.study is not None and self.answers:
            raise InputError("--study makes a study, --answers scores one; give one of them")

    @property
    def output_folder(self) -> Path:
        """Where the report goes."""
        if self.output is not None:
            return self.output
        subject = self.result or self.source
        return subject.with_name(f"{subject.stem}_evaluation")
