"""Errors that a user can act on: one line saying what was given, what is accepted, what to do."""

from __future__ import annotations


class NedError(Exception):
    """Base of all domain errors; the CLI prints its single line and exits with code 1."""


class InputError(NedError):
    """A file, flag or value given by the user cannot be used."""


class NoFaceError(InputError):
    """No usable face was found where one is needed."""


class OutputError(NedError):
    """A result cannot be written (output equals input, unwritable folder, full disk)."""


class AssetError(NedError):
    """A file that the chosen option needs is missing or is not what it claims to be."""


def quoted(path: object) -> str:
    """A path for a message: in quotes, on one line whatever the name contains."""
    return repr(str(path))


def reason(error: BaseException) -> str:
    """FFmpeg's or the system's words for an error, on one line."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(words).split())
