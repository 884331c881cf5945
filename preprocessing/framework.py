"""The framework: MediaPipe imported late and kept quiet."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)


def load_mediapipe() -> dict[str, Any]:
    """Import MediaPipe with its logging turned down, and return the few parts we use."""
    with _environment(GLOG_minloglevel="2", TF_CPP_MIN_LOG_LEVEL="3"), quiet_stderr():
        import mediapipe
        from mediapipe.python import packet_creator, packet_getter
        from mediapipe.python._framework_bindings import (
            calculator_graph,
            image,
            image_frame,
            resource_util,
        )
    resource_util.set_resource_dir(str(Path(mediapipe.__file__).parent.parent))

    def create_image(pixels: NDArray[np.uint8]) -> Any:
        return packet_creator.create_image(
            image.Image(image_format=image_frame.ImageFormat.SRGB, data=pixels)
        )

    return {
        "graph": calculator_graph.CalculatorGraph,
        "create_image": create_image,
        "create_bool": packet_creator.create_bool,
        "read": packet_getter,
        "detection": mediapipe.solutions.face_detection,
    }


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Variables that have a value only inside, unless they had one."""
    added = [name for name in variables if name not in os.environ]
    os.environ.update({name: variables[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Send what C++ libraries write to standard error to the debug log instead."""
    try:
        saved = os.dup(2)
    except OSError:  # no standard error at all
        yield
        return
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            sink.seek(0)
            text = sink.read().decode(errors="replace").strip()
            if text:
                log.debug("MediaPipe: %s", text)
