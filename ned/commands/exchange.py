"""Exchange: FLAME parameters to and from the per-frame .pkl files of NED and its relatives."""

from __future__ import annotations

from deca.flame_pickles import export_codes, import_codes
from ned.core.progress import SILENT, Progress
from ned.options.exchange import ExportOptions, ImportOptions


def export(options: ExportOptions, progress: Progress = SILENT) -> list[str]:
    """Write one .pkl per frame; returns lines; raises as `export_codes`."""
    return export_codes(options.celeb_path, options.exp_name, progress)


def import_(options: ImportOptions, progress: Progress = SILENT) -> list[str]:
    """Read an actor's .pkl files; returns lines; raises as `import_codes`."""
    return import_codes(options.celeb_path, options.exp_name, progress)
