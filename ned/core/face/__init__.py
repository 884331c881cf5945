"""What is known of a face through a clip: where it is, what it does, maps between its images."""
