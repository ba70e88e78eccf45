"""``python -m flexalign`` is the command ``flexalign``."""

from flexalign.cli import main

main()
