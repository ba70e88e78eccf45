"""Command lines and files of other programs in front of our own alignment."""
