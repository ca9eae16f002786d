"""From the counts of a cosmic-ray neutron sensor to root-zone soil water, at the detector."""

__version__ = "0.2.0"
