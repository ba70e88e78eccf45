"""Files: the only place that knows formats."""
