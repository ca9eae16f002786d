"""Simulated soil columns to trained, quantized and proven models for epithermal-edge."""

__version__ = "0.1.0"
