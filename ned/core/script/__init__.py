"""What the actor is asked to show, and when: emotions, mixtures, timelines and their files."""
