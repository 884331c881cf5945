"""A source and a result enter; scores leave."""
