"""Runs a command in its own place that ends when its parent does, even by SIGKILL: `tether.py PARENT COMMAND…`.

Run as a file, on the standard library alone: it stands between the fork and the command and must not take long.
Linux only; elsewhere the command runs as if called directly.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that is sent to us when our parent ends; it outlives an exec."""


def main() -> None:
    """Tie this process to its parent, then become the command."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):  # it ended before it could be watched
            sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
