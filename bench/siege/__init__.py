"""A siege of the web: fuzzed requests, and crowds of connections, against real processes on loopback.

It takes nothing of the service but its ledger, to look for what was acknowledged. Start reading at `__main__`, then
`shots` (what is sent).
"""
