"""Run the command `epithermal-host`: `python -m epithermal_host`."""

import sys

from epithermal_host.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
