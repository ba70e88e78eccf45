"""Many movies: a run folder that can be resumed, and executors that do the work side by side.

`inputs` and `watching` find movies, `names` keeps their names apart, `gain_gate` checks the
reference, `jobs` is one movie as a piece of work, `failures` says why it failed.  `run` is the
loop; `folder`, `tables` with `rows`, and `lock` are the folder of a run, `folder_facts` says what
a folder holds.  `executors` is the interface to whoever does the work: this process,
`local_processes` with `worker`, or `dask_executor` on `clusters`.  `resources` knows cores and
memory, `throughput` the speed, `events` tells observers.
"""
