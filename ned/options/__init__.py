"""Options: what a user can ask of each command, with every default and range written once.

One module per command, one frozen dataclass each; the strings under the fields are the help
texts of the command line. A module here imports nothing heavy.
"""

from ned.options.assets import AssetsOptions
from ned.options.direct import (
    REGIONS,
    DemoOptions,
    DirectOptions,
    InfoOptions,
    Region,
    is_still_name,
    parse_frame_rate,
)
from ned.options.evaluate import EvaluateOptions

__all__ = [
    "REGIONS",
    "AssetsOptions",
    "DemoOptions",
    "DirectOptions",
    "EvaluateOptions",
    "InfoOptions",
    "Region",
    "is_still_name",
    "parse_frame_rate",
]
