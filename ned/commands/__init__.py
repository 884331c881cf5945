"""Compositions of the rooms, a verb of the command line a module: options in, lines out."""
