"""Measurements of speed, memory and quality; each module runs alone: python -m benchmarks.speed."""
