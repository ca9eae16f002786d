"""Simulate the neutrons above a soil profile with COSMIC.

In: water content, bulk density and bound water of layers, snow and litter. Out: counting rate,
fraction of it from each layer, depth D86.
Open `cosmic` first; `cosmic_kernel` is its compiled inner loop.
"""
