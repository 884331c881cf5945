"""Export: a trained generator as an ONNX file that other programs can run."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch

from ned.core.errors import InputError, OutputError
from ned.core.partial import Partial, output_errors
from ned.core.source import quoted
from renderer.networks import CHANNELS, FRAMES, HISTORY, Generator

TOLERANCE = 1e-3  # in pictures from -1 to 1
_OPSET = 17
_AXES = {0: "pictures", 2: "height", 3: "width"}


def export_generator(generator: Generator, path: Path, size: int) -> float:
    """Write a generator as ONNX and compare it with itself in onnxruntime.

    Its inputs are "conditioning" (B, 30, H, W) and "previous" (B, 6, H, W), its output is
    "picture" (B, 3, H, W), as in `Generator.forward`; B, H and W may vary.

    Args:
        size: side of the pictures that are compared.

    Returns:
        The largest difference that was found.

    Raises:
        InputError: onnx or onnxruntime is not installed.
        OutputError: The file cannot be written, or what it computes differs.
    """
    try:
        import onnx  # noqa: F401 - torch needs it
        import onnxruntime
    except ImportError as error:
        raise InputError(
            f"exporting needs {error.name or 'onnx'}; pip install 'ned[export]'"
        ) from error
    generator = generator.eval().float().cpu()
    random = torch.Generator().manual_seed(0)
    conditioning = torch.rand(1, FRAMES * CHANNELS, size, size, generator=random)
    previous = torch.rand(1, HISTORY * 3, size, size, generator=random) * 2 - 1
    partial = Partial(path)
    try:
        with output_errors(path), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a tracer that is going to be replaced
            torch.onnx.export(
                generator,
                (conditioning, previous),
                str(partial.path),
                dynamo=False,  # the other one needs a compiler's worth of packages
                opset_version=_OPSET,
                input_names=["conditioning", "previous"],
                output_names=["picture"],
                dynamic_axes=dict.fromkeys(("conditioning", "previous", "picture"), _AXES),
            )
        session = onnxruntime.InferenceSession(
            str(partial.path), providers=["CPUExecutionProvider"]
        )
        largest = 0.0
        for history in (previous, torch.zeros_like(previous)):
            inputs = {"conditioning": conditioning.numpy(), "previous": history.numpy()}
            theirs = np.asarray(session.run(None, inputs)[0])
            with torch.inference_mode():
                ours = generator(conditioning, history).numpy()
            largest = max(largest, float(np.abs(theirs - ours).max()))
        if not largest <= TOLERANCE:
            raise OutputError(
                f"{quoted(path)} would differ by {largest:.2g} from the network, more than "
                f"{TOLERANCE:g}; it was not written"
            )
        partial.publish()
    finally:
        partial.discard()
    return largest
