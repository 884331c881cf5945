"""Windows: labelled sequences cut into what networks learn from; actors kept apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ned.core.errors import InputError

UNLABELLED = -1


@dataclass(frozen=True, eq=False)
class LabelledSequence:
    """One clip.

    Attributes:
        values: (T, V) float32. labels: (T,) int64 emotion of each frame, -1 for none.
        frames: (T,) int64 frame numbers, increasing; a gap ends a run.
        actor: who it is. name: of the clip, for messages.
    """

    values: NDArray[np.float32]
    labels: NDArray[np.int64]
    frames: NDArray[np.int64]
    actor: str
    name: str

    @classmethod
    def of(
        cls, values: NDArray[np.floating], label: int, actor: str, name: str
    ) -> LabelledSequence:
        """A clip without gaps that has one label."""
        count = len(values)
        return cls(
            np.asarray(values, np.float32),
            np.full(count, label, np.int64),
            np.arange(count),
            actor,
            name,
        )

    def kept(self, rows: NDArray[np.bool_]) -> LabelledSequence:
        """Some of the frames; those left out end runs."""
        return LabelledSequence(
            self.values[rows], self.labels[rows], self.frames[rows], self.actor, self.name
        )


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of sequences, cut when they are asked for.

    Attributes:
        values: (N, V) float32 frames of all sequences.
        starts: (W,) int64 row of each window's first frame. labels: (W,) int64 its emotion.
        length: frames per window. actors: whose they are.
    """

    values: NDArray[np.float32]
    starts: NDArray[np.int64]
    labels: NDArray[np.int64]
    length: int
    actors: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        """(n, length, V) windows."""
        return self.values[self.starts[rows][:, None] + np.arange(self.length)]

    def normalised(self, mean: NDArray[np.float32], spread: NDArray[np.float32]) -> Windows:
        """The same windows of (values - mean) / spread."""
        values = ((self.values - mean) / spread).astype(np.float32)
        return Windows(values, self.starts, self.labels, self.length, self.actors)


def cut_windows(sequences: Sequence[LabelledSequence], length: int = 10, hop: int = 1) -> Windows:
    """Windows inside runs of consecutive frames, `hop` frames apart.

    A window's label is the one that most of its frames have; of several, that which comes first.
    Windows most of whose frames have none are left out.
    """
    starts, labels, first = [], [], 0
    for sequence in sequences:
        for begin, end in _runs(sequence):
            for start in range(begin, end - length + 1, hop):
                label = _most_frequent(sequence.labels[start : start + length])
                if label != UNLABELLED:
                    starts.append(first + start)
                    labels.append(label)
        first += len(sequence.values)
    width = sequences[0].values.shape[1] if sequences else 0
    values = [sequence.values for sequence in sequences] or [np.zeros((0, width), np.float32)]
    return Windows(
        np.concatenate(values).astype(np.float32),
        np.array(starts, np.int64),
        np.array(labels, np.int64),
        length,
        tuple(sorted({sequence.actor for sequence in sequences})),
    )


@dataclass(frozen=True)
class Split:
    """Sequences of actors to learn from and of other actors to validate with."""

    training: tuple[LabelledSequence, ...]
    validation: tuple[LabelledSequence, ...]


def split_actors(
    sequences: Sequence[LabelledSequence],
    training: Sequence[str] = (),
    validation: Sequence[str] = (),
    share: float = 0.1,
) -> Split:
    """Give every actor to one side.

    Args:
        training, validation: names of actors. If only validation is named, all others train; if
            only training is, all others validate; if neither, `share` of the actors (in the order
            of their names, at least one of several) validate.

    Raises:
        InputError: A name is not among the actors or on both sides, or nobody is left to train.
    """
    actors = sorted({sequence.actor for sequence in sequences})
    both = sorted(set(training) & set(validation))
    if both:
        raise InputError(
            f"{both[0]} is among --selected_actors and --selected_actors_val; validation needs "
            "actors that the networks have not seen"
        )
    for name in (*training, *validation):
        if name not in actors:
            shown = ", ".join(actors[:8]) + ", ..." * (len(actors) > 8)
            raise InputError(f"there is no actor {name!r}; there are {shown or 'none'}")
    chosen = set(validation)
    if not validation and training:
        chosen = set(actors) - set(training)
    elif not validation and len(actors) > 1:
        chosen = set(actors[-max(1, round(share * len(actors))) :])
    learners = set(training) or set(actors) - chosen
    split = Split(
        tuple(one for one in sequences if one.actor in learners),
        tuple(one for one in sequences if one.actor in chosen),
    )
    if not split.training:
        raise InputError("no actor is left to learn from; name fewer in --selected_actors_val")
    return split


def normalisation(windows: Windows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(V,) mean and standard deviation; columns that hardly move are not blown up."""
    mean, spread = windows.values.mean(0), windows.values.std(0)
    floor = max(0.1 * float(spread.mean()), 1e-6)
    return mean.astype(np.float32), np.maximum(spread, floor).astype(np.float32)


def _runs(sequence: LabelledSequence) -> list[tuple[int, int]]:
    """Rows [begin, end) of consecutive frames."""
    ends = np.flatnonzero(np.diff(sequence.frames) != 1) + 1
    limits = [0, *ends.tolist(), len(sequence.frames)]
    return list(pairwise(limits))


def _most_frequent(labels: NDArray[np.int64]) -> int:
    values, first, counts = np.unique(labels, return_index=True, return_counts=True)
    best = counts == counts.max()
    return int(values[best][first[best].argmin()])
