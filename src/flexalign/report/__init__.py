"""One page on which a person sees how a run went; it reads results and computes none.

`columns` has each number once, `collect` reads records and the index, `details` is one movie,
`summary` the session, `page` the HTML from `templates` and `assets`, `live` keeps it current.
"""
