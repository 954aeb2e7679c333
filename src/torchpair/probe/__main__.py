"""`python -m torchpair.probe`."""

import sys

from .cli import main

sys.exit(main())
