"""A Performance and a Direction enter; the directed Performance leaves."""
