"""Pixels on a device: no paths, no Angstroms, no parameters object."""
