"""Writing files atomically, and never over files that are not ours.

`publishing` renames several files to their places at once, `ownership` decides which files are
ours, `ledger` lists the tables that are rewritten.  `flexalign.atomic` writes a single file.
"""
