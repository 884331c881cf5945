"""A timeline made in Python, and progress that hands out what was measured on the way."""

import sys

import ned


class Hook(ned.SilentProgress):
    """Tells of every stage's result."""

    def artefact(self, name: str, value: object) -> None:
        print(f"{name}: {type(value).__name__}")


keys = [(0.0, "neutral"), (0.6, "surprised:0.7"), (1.2, "sad")]
timeline = " ".join(f"{time}:{emotion}" for time, emotion in keys)
ned.direct(sys.argv[1], timeline=timeline, output="take.mp4", progress=Hook())
