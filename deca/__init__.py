"""A Track enters; a Performance (identity, expression units, jaw, head pose per frame) leaves."""
