"""`python -m fl.runtime.supernode_key FILE`: makes a SuperNode's key, or tells the public half of the one there is."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fl.node_keys import BadKey, fingerprint, make_private_key, public_line, read_private_key


def main(arguments: list[str]) -> int:
    """Print the public key, which an administrator of the consortium registers; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fl.runtime.supernode_key",
        description="Make the key of a SuperNode if FILE does not exist, and print the public half of it. The "
        "private half stays in FILE (mode 0600) and never leaves this machine.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="for example supernode.key")
    file: Path = parser.parse_args(arguments).file
    try:
        if not file.exists():
            make_private_key(file)
            print(f"Made {file}. Register this public key on the hub's Institutions page:", file=sys.stderr)
        line = public_line(read_private_key(file))
    except (BadKey, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    print(line)
    print(f"Its fingerprint is {fingerprint(line)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
