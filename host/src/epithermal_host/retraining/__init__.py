"""Adapt the head of a released network to one site, or decline.

In: a bundle, a site with probes or soil samples, and a simulated population on which the error must
not grow. Out: a new bundle, or the reasons for declining; retrain.md, retrain.json and a figure in
both cases.
Open `retrain` first, then `head_fit` for the decision.
"""
