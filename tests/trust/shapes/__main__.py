"""`python -m tests.trust.shapes`."""

import sys

from tests.trust.shapes import main

sys.exit(main())
