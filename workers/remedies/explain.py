"""What the operator's rules would change on given files: before -> after, with counts and quantity.

Only changes made on the operator's word are counted, not those that every file gets. A record whose outcome a rule
changes without touching it (it waits) shows in the outcomes of the plan instead.
"""
