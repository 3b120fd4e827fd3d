"""Run the command line as ``python -m heartbeat``."""

import sys

from heartbeat.cli import main

if __name__ == "__main__":
    sys.exit(main())
