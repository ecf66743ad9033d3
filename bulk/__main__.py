"""`python -m bulk`, as `ncal label … --ray …`."""

import sys

from bulk.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
