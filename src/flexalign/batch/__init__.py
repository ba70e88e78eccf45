"""Many movies: a run folder that can be resumed, and executors that do the work side by side."""
