"""``python -m journeybatch``."""

from __future__ import annotations

from journeybatch.cli import main

if __name__ == "__main__":
    main()
