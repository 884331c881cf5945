"""Conditioning pictures enter; faces drawn by an actor's network of NED's layout leave."""
