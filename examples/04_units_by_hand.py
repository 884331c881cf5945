"""Change the units of the face yourself: a wink, and a little more of the left brow."""

import dataclasses
import sys

import numpy as np
from PIL import Image

import ned

clip = ned.Clip.open(sys.argv[1])
performance = ned.perform(clip)
units = performance.units.copy()
index = {name: column for column, name in enumerate(performance.unit_names)}
wink = np.sin(np.linspace(0, np.pi, len(units))).astype(np.float32)
units[:, index["lid_close_left"]] += wink
units[:, index["outer_brow_raise_left"]] += 0.5
directed = dataclasses.replace(performance, directed=units)
_, drawn = ned.edit_at(clip, directed, len(units) // 2)
Image.fromarray(drawn.rgb()).save("wink.png")
print(f"wink.png; the units are {', '.join(sorted(index)[:6])} ...")
