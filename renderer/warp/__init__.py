"""A frame and the moves of its mesh enter; the frame, its own pixels moved and shaded, leaves."""
