"""Edited face regions enter; a finished video with its sound and provenance leaves."""
