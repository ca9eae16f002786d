"""Run work on many processors and keep files whole.

In: a function and its tasks, a kernel, a model file, bytes. Out: answers from the processes of this
machine or of a Dask cluster, cached machine code, answers of a TFLite runtime in a process of its
own, files that are complete or absent.
Open `crew` first.
"""
