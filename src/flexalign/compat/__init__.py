"""Compatibility with the command lines and files of other programs: `xmipp`."""
