"""`python -m ncal`, where the command is not installed."""

import sys

from ncal.command import main

if __name__ == "__main__":
    sys.exit(main())
