"""journeybatch without the journal's syncs: what they cost, by leaving them out. For measuring, and for nothing else: a
power cut would take requests out of the journal that had left."""

from __future__ import annotations

from journeybatch import journal
from journeybatch.cli import main

journal.fdatasync = lambda fd: None

if __name__ == "__main__":
    main()
