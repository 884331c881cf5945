"""Recorded and made-up expression sequences enter; labelled windows to learn from leave."""
