"""cv2, untyped on purpose: its own stubs contradict how numpy arrays are typed."""

from typing import Any

def __getattr__(name: str) -> Any: ...
