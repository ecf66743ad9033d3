"""`python -m labelling`, as `ncal label`."""

import sys

from labelling.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
