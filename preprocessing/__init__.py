"""A clip enters; one Track (box, landmarks, confidence per frame) per face leaves."""
