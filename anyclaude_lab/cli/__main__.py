"""`python -m anyclaude_lab.cli`, the same as `anyclaude-bench`."""

import sys

from anyclaude_lab.cli import main

if __name__ == "__main__":
    sys.exit(main())
