"""`python -m fl.runtime.superlink`: Flower's SuperLink, started as `flower-superlink` is, quicker at each call."""

from __future__ import annotations

import os

from fl.runtime.flower_private import leave_out_idle_middleware


def main() -> None:
    """Run SuperLink until it is stopped."""
    os.chdir(os.environ["FLWR_HOME"])  # the working folder of the apps that it starts, too
    leave_out_idle_middleware()
    from flwr.superlink.cli.flower_superlink import flower_superlink

    flower_superlink()


if __name__ == "__main__":
    main()
