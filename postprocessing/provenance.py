"""Provenance: the words in a file's metadata that say it was edited, and with what."""

from __future__ import annotations

from ned import __version__


def provenance_tags(edit: str) -> dict[str, str]:
    """Metadata of an edited video.

    Args:
        edit: what was asked for, such as "happy:0.8".

    Returns:
        `comment`, which players show, and `ned_version`, `ned_edit` for programs.
    """
    return {
        "comment": f"Facial expression edited with the NED toolkit {__version__} ({edit}).",
        "ned_version": __version__,
        "ned_edit": edit,
    }
