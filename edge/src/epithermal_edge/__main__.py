"""Run the command `epithermal-edge`: `python -m epithermal_edge`."""

import sys

from epithermal_edge.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
