"""The ground floor: clips, tracks, performances, timelines and errors; imports no room."""
