"""The `metermend` command: a module for a command or for two of one subject, imported when it is asked for.

It may import everything below it, and of the web what starts it. Errors of the operator's making end as one line on
stderr and exit code 2; no traceback reaches him. Start reading at `main.COMMANDS`;
`show` prints files and plans, `processes` runs children.
"""

from workers.cli.main import COMMANDS, main

__all__ = ["COMMANDS", "main"]
