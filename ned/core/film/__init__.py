"""Films and pictures on disk enter; frames and packets leave, and come back as files."""
