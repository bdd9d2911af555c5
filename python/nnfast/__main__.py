"""`python -m nnfast` is the command `nnfast`."""

import sys

from nnfast.cli import main

sys.exit(main())
