"""`python -m service.label`."""

import sys

from service.label.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
