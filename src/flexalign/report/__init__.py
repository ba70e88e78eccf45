"""One page on which a person sees how a run went; it reads results and computes none."""
