"""Turn records and estimates into the files that archives and journals take.

In: `Outcome`s, a `Site`, who measured. Out: NetCDF (CF, ACDD), Parquet, the columns of
COSMOS-Europe, and the methods in use with their references. First file to open: variables.py; then
netcdf.py and methods.py. netCDF4 and pyarrow are optional and are loaded at the first use.
"""
