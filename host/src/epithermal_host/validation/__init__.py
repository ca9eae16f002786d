"""Compare results with those of other programs, case by case.

In: reference data of HYDRUS-1D, of COSMIC and of correction packages. Out: a line for each case
with its largest difference and whether it is within the limit.
Open `columns` first.
"""
