"""YAML files: the rig, the emotions, and nothing but deviations from documented defaults."""
