"""`python -m secagg.cli`: the command line of a clone that is not installed."""

from __future__ import annotations

from secagg.cli import main

if __name__ == "__main__":
    main()
