"""What a person is shown of one case, read from its journal and its record sets; nothing is written.

Imports `record_sets`, `case_facts` and what lies below. Start with `case_view`.
"""
