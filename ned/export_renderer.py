"""Export renderer: an actor's trained generator as ONNX, for other programs."""

from __future__ import annotations

from ned.core.checkpoint import require_torch
from ned.core.progress import SILENT, Progress
from ned.options.render import ExportRendererOptions


def export_renderer(options: ExportRendererOptions, progress: Progress = SILENT) -> list[str]:
    """Write the file and compare it; returns lines.

    Raises:
        InputError: There is no such epoch, or onnx is not installed.
        AssetError: The checkpoint is of another layout. OutputError: It cannot be written.
    """
    require_torch("exporting a renderer")
    from renderer.checkpoints import find_generator, read_record
    from renderer.dataset import SIZE
    from renderer.export import export_generator
    from renderer.networks import load_generator

    folder = options.checkpoints_dir
    path = find_generator(folder, options.which_epoch)
    size = int(read_record(folder).get("settings", {}).get("size", SIZE))
    with progress.stage("exporting", None):
        apart = export_generator(load_generator(path), options.output, size)
    return [f"wrote {options.output} of {path.name}; it differs by at most {apart:.1e}"]
