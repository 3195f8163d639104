"""Runs a command on a terminal of its own and passes on what it shows.

Exits with the command's code. Usage: on_terminal.py COMMAND [ARGUMENT...]
"""

import os
import pty
import sys

if __name__ == "__main__":
    sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
