"""A frame, its Performance and the directed one enter; the edited face region leaves."""
