"""The HTML report of a run; it reads results and computes none.

`columns` is the table of reported numbers, `collect` reads records and the index, `details` is
one movie, `summary` the session, `page` renders the HTML from `templates` and `assets`, `live`
keeps it current; `subset` has the table of which the page saves the accepted movies.  `series` is
the report of tilt series, with plots by `svg`; `scores` is the page of ``flexalign score``.
"""
