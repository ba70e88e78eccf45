"""How files are written: whole or not at all, and never over what is not ours.

`publishing` gives several files their names at once, `ownership` knows which files are ours,
`ledger` keeps the list of tables that are made again; `flexalign.atomic` writes one file.
"""
