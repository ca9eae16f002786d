"""Adapt the head of a released network to one site, or decline.

In: a bundle, a site with probes or soil samples, a simulated population that must not be forgotten.
Out: a new bundle, or the reasons against one; retrain.md, retrain.json and a picture either way.
Open `retrain` first, then `head_fit` for the decision.
"""
