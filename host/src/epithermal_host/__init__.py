"""Simulated soil columns to trained, quantized and proven models for epithermal-edge."""

import epithermal_edge

__version__ = epithermal_edge.__version__
