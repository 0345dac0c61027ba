"""The `metermend` command: one module a command, imported when it is asked for.

It may import everything below it. Errors of the operator's making end as one line on stderr and exit code 2; no
traceback reaches him. Start reading at `COMMANDS`.
"""

from workers.cli.main import COMMANDS, main

__all__ = ["COMMANDS", "main"]
