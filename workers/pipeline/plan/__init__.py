"""What becomes of each pending record: repaired and planned, deferred until its time, or put before a person.

`plan` writes the outcome of every record down in one commit; `decide` asks the engine of `workers.remedies` and
the guards of `submit`; `defer` takes up what has become valid. It imports
`submit` and what lies below. Start with `plan`.
"""
