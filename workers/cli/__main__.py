"""`python -m workers.cli`: the `metermend` command without an installed script."""

from workers.cli.main import main

main()
