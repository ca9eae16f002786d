"""Define the array types of the whole package and the half width of a 90 % interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Array32 = NDArray[np.float32]  # inputs and outputs of the network
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

Z90 = 1.6449  # half width of the central 90 % of a Gaussian, in standard deviations
