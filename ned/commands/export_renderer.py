"""Export renderer: an actor's trained network as ONNX, for other programs."""

from __future__ import annotations

from ned.core.files.checkpoint import require_torch
from ned.core.progress import SILENT, Progress
from ned.options.render import ExportRendererOptions
from postprocessing.replacing import check_replaceable


def export_renderer(options: ExportRendererOptions, progress: Progress = SILENT) -> list[str]:
    """Write the file and compare it; returns lines.

    The folder may hold NED's layout (`ned train-renderer`) or a hybrid (`ned train-hybrid`).

    Raises:
        InputError: There is no such epoch, or onnx is not installed.
        AssetError: The checkpoint is of another layout. OutputError: It cannot be written.
    """
    require_torch("exporting a renderer")
    from renderer.export import export_generator, export_hybrid
    from renderer.hybrid.network import load_network
    from renderer.hybrid.renderer import NETWORK
    from renderer.neural.checkpoints import find_generator, picture_size
    from renderer.neural.networks import load_generator

    check_replaceable(options.output, options.overwrite)
    folder = options.checkpoints_dir
    with progress.stage("exporting", None):
        if options.which_epoch is None and (folder / NETWORK).is_file():
            path = folder / NETWORK
            apart = export_hybrid(load_network(path)[0], options.output)
        else:
            path = find_generator(folder, options.which_epoch)
            apart = export_generator(load_generator(path), options.output, picture_size(folder))
    return [f"wrote {options.output} of {path.name}; it differs by at most {apart:.1e}"]
