"""Compare a model with the classical methods on simulated soils it was not trained on.

In: the series of a run's data set, estimates of each method. Out: RMSE, ubRMSE, bias, r, KGE and
coverage over any choice of soils and days; curves over the age of a stream and over outages.
Open `metrics` first, then `evaluate` (a run's own model); `methods` defines every name.
"""
