"""`python -m fl.runtime.superlink`: Flower's SuperLink, started as `flower-superlink` is, guarded and quicker."""

from __future__ import annotations

import os

from fl.runtime.flower_private import adapt_superlink
from fl.runtime.superlink_guard import CONTROL_SECRET


def main() -> None:
    """Run SuperLink until it is stopped."""
    os.chdir(os.environ["FLWR_HOME"])  # the working folder of the apps that it starts, too
    adapt_superlink(
        os.environ.pop(CONTROL_SECRET)
    )  # taken out: the apps that it starts inherit the environment
    from flwr.superlink.cli.flower_superlink import flower_superlink

    flower_superlink()


if __name__ == "__main__":
    main()
