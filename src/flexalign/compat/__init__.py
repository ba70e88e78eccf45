"""Other programs' command lines and files in front of our own alignment: `xmipp`."""
