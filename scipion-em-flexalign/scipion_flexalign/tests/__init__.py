"""Tests that a user can run: scipion tests --grep scipion_flexalign --run."""
