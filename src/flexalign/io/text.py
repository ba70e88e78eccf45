"""Text for the readers of formats: a regular file, size-bounded, UTF-8 or UTF-16 (`files`)."""

from flexalign.files import check_regular_file as check_regular_file
from flexalign.files import read_text as read_text
