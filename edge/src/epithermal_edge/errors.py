"""The faults a caller can act on: one class for each reaction."""


class EpithermalError(Exception):
    """Base of every fault that epithermal raises on purpose; its text is one line for the user."""

    exit_code = 1


class ConfigError(EpithermalError):
    """The configuration or a named file is wrong: refuse to start.

    Parameters
    ----------
    faults :
        Every fault found, each naming file and key and what to do; all are reported at once.
    """

    exit_code = 2

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class BundleError(EpithermalError):
    """The model bundle is damaged, unknown or fails its golden vectors: refuse to start."""

    exit_code = 3


class SourceError(EpithermalError):
    """The detector's port or file cannot be read: reopen with back-off, or stop when a file."""

    exit_code = 4


class FrameError(EpithermalError):
    """A line from the logger is damaged: count it, read on."""
