"""What a worker, and Ray itself, need of the process they are in: its environment, and its end.

Kept light: every worker imports it as it starts.
"""

from __future__ import annotations

import os


def environ() -> dict[str, str]:
    """The environment of this process: on a worker it holds the key."""
    return dict(os.environ)


def end() -> None:
    """End this process at once, with all its connections."""
    os._exit(1)


def settle_ray() -> None:
    """Before Ray is imported: it is to report nothing to its makers, and to leave the choice of GPUs alone, of which
    we use none. What the user has set stays."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
