"""What a person decides: every act shows its effect, is approved, and is carried out once.

`desk` asks for, shows, approves, carries out and takes back; `order` says what an act is; `case_orders`,
`record_orders` and `rule_orders` are the acts. The terminal, the console and the tests come by `desk` alone.
Imports `upkeep`, `plan` and what lies below. Start with `desk`.
"""
