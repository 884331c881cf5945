"""Names: the emotion and the actor in the file names of public sets of acted clips."""

from __future__ import annotations

import re
from typing import Literal

from ned.core.script.emotions import CREMA_D_LABELS, RAVDESS_LABELS

Scheme = Literal["crema-d", "ravdess"]

_CREMA = re.compile(r"(\d{4})_[A-Z]{3}_([A-Z]{3})_[A-Z]{2}")
_RAVDESS = re.compile(r"\d\d-\d\d-(\d\d)-\d\d-\d\d-\d\d-(\d\d)")


def parse_name(scheme: Scheme, name: str) -> tuple[str, str] | None:
    """Actor and emotion in a name without suffix, None if it is not of the scheme.

    CREMA-D has 1001_DFA_ANG_XX: actor, sentence, emotion, level (Cao et al. 2014). RAVDESS has
    seven numbers; the third is the emotion, the seventh the actor (Livingstone and Russo 2018).
    """
    if scheme == "crema-d":
        match = _CREMA.fullmatch(name)
        found = match and (match[1], CREMA_D_LABELS.get(match[2]))
    else:
        match = _RAVDESS.fullmatch(name)
        found = match and (match[2], RAVDESS_LABELS.get(match[1]))
    return (found[0], found[1]) if found and found[1] else None
