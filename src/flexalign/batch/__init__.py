"""Runs over many movies: a run folder that can be resumed, and executors that work in parallel.

`inputs` and `watching` find movies, `sidecars` reads what is beside them, `session_plan` says what
they will take, `names` makes their names unique, `first_movies` checks pixel size and dose, with
`gain_gate` the gain reference, `jobs` is the unit of work, one movie, `failures` classifies errors.
`run` is the main loop over movies of `sources`; `folder`, `tables` (micrographs.csv and others)
with `rows`, and `lock` are the run folder, `folder_facts` describes a folder. `executors` is the
interface of executors: this process, `local_processes` or `dask_executor` on `clusters`.
`local_executor` makes the one for this machine; `worker_process` is a process of it as its parent
sees it, `worker` what runs there, with the movies of a `session`; `gpus` are those of a run.
`resources` measures cores and memory, `throughput` the speed, `warning_counts` counts the warnings
of movies, `events` are for observers. `series` is a run over the movies of tilt series, each of
them a `pending_series` with `series_priors`, in the folder of `series_folder`; they come from
`listed_series` or `watching_series`. `align_movies` is a run from Python, `project_files` has the
checks of outputs and the files for other programs.
"""
