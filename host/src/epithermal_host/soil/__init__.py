"""Describe soils, and solve Richards' equation for a soil column.

In: a texture class or hydraulic parameters, daily weather at the surface. Out: water content and
fluxes over depth and time, from the built-in solver or from HYDRUS-1D.
Open `richards` first; `hydraulics` has theta(h) and K(h).
"""
