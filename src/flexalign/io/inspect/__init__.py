"""What a file is and what can be said of it without processing: the command ``flexalign info``.

`inspection` tells the kind of a file, and `movie_facts`, `image_facts`, `motion_facts` and
`session_facts` what is in it, as `facts`.
"""
