"""Export: trained networks as ONNX files that other programs can run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ned.core.errors import InputError, OutputError, quoted
from ned.core.files.partial import Partial, output_errors
from renderer.hybrid.network import SEEN, HybridNetwork
from renderer.neural.networks import CHANNELS, FRAMES, HISTORY, Generator

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
    random = torch.Generator().manual_seed(0)
    conditioning = torch.rand(1, FRAMES * CHANNELS, size, size, generator=random)
    previous = torch.rand(1, HISTORY * 3, size, size, generator=random) * 2 - 1
    histories = (previous, torch.zeros_like(previous))
    inputs = [{"conditioning": conditioning, "previous": history} for history in histories]
    return _export(generator, path, inputs)


def export_hybrid(network: HybridNetwork, path: Path) -> float:
    """Write a hybrid renderer's network as ONNX and compare it with itself in onnxruntime.

    Its input is "seen" (B, 11, H, W), its output "picture" (B, 3, H, W), as in
    `HybridNetwork.forward`; B, H and W may vary. Returns and raises as `export_generator`.
    """
    random = torch.Generator().manual_seed(0)
    size = network.shape.size
    inputs = []
    for count in (1, 2):
        seen = torch.rand(count, SEEN, size, size, generator=random) * 2 - 1
        seen[:, 7] = 0
        seen[:, 7, size // 8 : -size // 8, size // 4 : -size // 4] = 1
        inputs.append({"seen": seen})
    return _export(network, path, inputs)


def _export(network: nn.Module, path: Path, inputs: Sequence[Mapping[str, Tensor]]) -> float:
    """Write a network whose output is "picture", trying all inputs; returns the difference."""
    try:
        import onnx  # noqa: F401 - torch needs it
        import onnxruntime
    except ImportError as error:
        raise InputError(
            f"exporting needs {error.name or 'onnx'}; pip install 'ned[export]'"
        ) from error
    network = network.eval().float().cpu()
    names = list(inputs[0])
    partial = Partial(path)
    try:
        with output_errors(path), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a tracer that is going to be replaced
            torch.onnx.export(
                network,
                tuple(inputs[0].values()),
                str(partial.path),
                dynamo=False,  # the other one needs a compiler's worth of packages
                opset_version=_OPSET,
                input_names=names,
                output_names=["picture"],
                dynamic_axes=dict.fromkeys((*names, "picture"), _AXES),
            )
        session = onnxruntime.InferenceSession(
            str(partial.path), providers=["CPUExecutionProvider"]
        )
        largest = 0.0
        for given in inputs:
            arrays = {name: value.numpy() for name, value in given.items()}
            theirs = np.asarray(session.run(None, arrays)[0])
            with torch.inference_mode():
                ours = network(*given.values()).numpy()
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
