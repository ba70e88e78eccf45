"""``python -m flexalign`` is the command ``flexalign``."""

from flexalign.cli import main

if __name__ == "__main__":
    main()
