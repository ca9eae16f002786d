"""Define one class of error for each reaction of a caller."""


class EpithermalError(Exception):
    """Base of all errors that epithermal raises itself; the text is one line for the user."""

    exit_code = 1


class ConfigError(EpithermalError):
    """The configuration or a named file is wrong: refuse to start.

    Parameters
    ----------
    faults :
        One text per fault, which names the file, the key and the remedy; all are reported at once.
    """

    exit_code = 2

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class BundleError(EpithermalError):
    """The model bundle is damaged, incompatible or fails its golden vectors: refuse to start."""

    exit_code = 3


class SourceError(EpithermalError):
    """The logger cannot be read: reopen a port with back-off, stop at a file."""

    exit_code = 4


class FrameError(EpithermalError):
    """A line from the logger is damaged: count it and continue with the next."""
