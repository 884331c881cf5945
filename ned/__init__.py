"""Neural Emotion Director: footage of an actor in, the same take with another emotion out."""

__version__ = "0.1.0"
