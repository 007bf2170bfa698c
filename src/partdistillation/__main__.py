"""`python -m partdistillation`: the command line, as torchrun and programs start it."""

import sys

from partdistillation.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
