"""Identify and describe files without processing them: the command ``flexalign info``.

`inspection` identifies a file; `movie_facts`, `image_facts`, `motion_facts` and `session_facts`
describe its contents as `facts`. `sidecars` are the files beside a movie.
"""
