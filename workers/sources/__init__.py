"""The sender's own usage: where the records behind a validation report are found again, and whole files.

Stripe names only samples of what it refused, without their content; the content is in the files that the sender
wrote, or in a table that he sends by API from. Owns listing files, converting each once into a local, bounded
cache, looking identifiers up, and yielding the rows of a meter and a time. Imports `workers.records` and
`workers.kernel`. Start with `protocol.UsageSources`: `search` is it for files, `table_search` for a table, `joined`
for both.
"""

from workers.sources.joined import JoinedUsageSources
from workers.sources.protocol import Candidate, Candidates, FoundUsage, UsageSources, same_usage, settle, wanted
from workers.sources.search import NOWHERE, StoredUsageSources
from workers.sources.table_search import TableUsageSource
from workers.sources.tables import TableColumns

__all__ = [
    "NOWHERE",
    "Candidate",
    "Candidates",
    "FoundUsage",
    "JoinedUsageSources",
    "StoredUsageSources",
    "TableColumns",
    "TableUsageSource",
    "UsageSources",
    "same_usage",
    "settle",
    "wanted",
]
