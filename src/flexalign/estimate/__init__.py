"""From small frames to a motion."""
