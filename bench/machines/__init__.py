"""The service on many machines: network namespaces as hosts, each with an address of its own on one switch.

`make bench ARGS=machines` plays `story.STEPS` on `house.Machines` (hosts die, are unplugged, or fall silent, so
that connections hang) and judges it by `bench.faults.truth`; `pace.py` measures what one, two and three hosts of
workers drain. `network.py` makes the hosts: it needs root and iproute2.
"""
