"""`python -m workers.cli`: the `metermend` command without an installed script."""

from workers.cli.entry import main

main()
