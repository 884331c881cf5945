"""Provenance: the words in a file's metadata that say it was edited, and with what."""

from __future__ import annotations

from ned import __version__

WORDS = "edited with the NED toolkit"  # by which results are known as such
VERSION_TAG = "ned_version"


def provenance_tags(edit: str) -> dict[str, str]:
    """Metadata of an edited video.

    Args:
        edit: what was asked for, such as "happy:0.8".

    Returns:
        `comment`, which players show, and `ned_version`, `ned_edit` for programs.
    """
    return {
        "comment": f"Facial expression {WORDS} {__version__} ({edit}).",
        VERSION_TAG: __version__,
        "ned_edit": edit,
    }
