"""The framework: MediaPipe imported late and kept quiet."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
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
        _postpone("mediapipe")
        import mediapipe
        from mediapipe.python import packet_creator, packet_getter
        from mediapipe.python._framework_bindings import (
            calculator_graph,
            image,
            image_frame,
            resource_util,
        )

        _postpone("mediapipe.python.solutions")
        face_detection = importlib.import_module("mediapipe.python.solutions.face_detection")
        # Options of a graph's nodes are ignored unless their types were imported; this has all.
        importlib.import_module("mediapipe.python.solutions.face_mesh")
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
        "detection": face_detection,
    }


def _postpone(package: str) -> None:
    """Let modules of a package be imported without its own start.

    That follows when somebody asks the package for something else. MediaPipe's imports all its
    tasks, matplotlib and a library of sound devices, which takes longer than all the rest.
    """
    spec = None if package in sys.modules else importlib.util.find_spec(package)
    if spec is None or spec.loader is None:
        return
    module, loader = importlib.util.module_from_spec(spec), spec.loader

    def start(name: str) -> Any:
        del module.__dict__["__getattr__"]
        loader.exec_module(module)
        return getattr(module, name)

    module.__dict__["__getattr__"] = start
    sys.modules[package] = module


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
