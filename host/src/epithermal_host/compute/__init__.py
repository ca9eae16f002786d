"""Run tasks in parallel, compile kernels and write files atomically.

In: a function and its tasks, a kernel, a model file, bytes. Out: results from processes of this
machine or of a Dask cluster, cached machine code, outputs of a TFLite runtime in a separate
process, files that are complete or absent.
Open `crew` first.
"""
