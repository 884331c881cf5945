"""Measure once, then try emotions on a single frame without writing a film."""

import dataclasses
import sys

from PIL import Image

import ned

clip = ned.Clip.open(sys.argv[1])
performance = ned.perform(clip)
middle = len(performance) // 2
for emotion in ("happy", "sad", "angry"):
    direction = ned.Direction(ned.Timeline.constant({emotion: 1.0}))
    change = ned.direct_performance(performance, direction).change
    directed = dataclasses.replace(performance, directed=performance.units + change)
    source, drawn = ned.edit_at(clip, directed, middle)
    Image.fromarray(drawn.rgb()).save(f"{emotion}.png")
    print(f"{emotion}.png: frame {source.index} at {source.time:.2f} s")
