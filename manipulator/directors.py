"""Directors by name: the one table that knows them all."""

from __future__ import annotations

from collections.abc import Callable

from deca.rig import Rig
from manipulator.director import Director
from manipulator.procedural import ProceduralDirector
from manipulator.prototypes import Prototypes
from manipulator.styles import ReferenceDirector
from ned.core.errors import InputError
from ned.core.face.performance import Performance
from ned.core.files.checkpoint import require_torch


def open_director(
    name: str,
    rig: Rig,
    reference: Performance | None = None,
    prototypes: Prototypes | None = None,
) -> Director:
    """A director by its name.

    Args:
        reference: whose expressive style is taken on; None where emotions are asked for.
        prototypes: the emotions that rules know, None = the built-in ones.

    Raises:
        InputError: There is no such director, or its networks cannot be used.
        NoFaceError: The reference never shows a face.
    """
    if name not in DIRECTORS:
        raise InputError(f"director {name!r} is unknown; known are {', '.join(DIRECTORS)}")
    return DIRECTORS[name](rig, reference, prototypes)


def _procedural(rig: Rig, reference: Performance | None, prototypes: Prototypes | None) -> Director:
    if reference is None:
        return ProceduralDirector(rig, prototypes=prototypes)
    return ReferenceDirector.of(reference, rig)


def _learned(rig: Rig, reference: Performance | None, prototypes: Prototypes | None) -> Director:
    require_torch("the learned director")
    from manipulator.learned import LearnedDirector

    return LearnedDirector.load(rig, reference=reference)


DIRECTORS: dict[str, Callable[[Rig, Performance | None, Prototypes | None], Director]] = {
    "procedural": _procedural,
    "learned": _learned,
}
