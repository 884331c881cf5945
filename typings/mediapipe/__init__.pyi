"""mediapipe, untyped on purpose: it brings no usable types."""

from typing import Any

def __getattr__(name: str) -> Any: ...
