"""The sender's own usage: where the records behind a validation report are found again, and whole files.

Stripe names only samples of what it refused, without their content; the content is in the files that the sender
wrote. Owns listing them, converting each once into a local, bounded cache, looking identifiers up, and yielding the
rows of a meter and a time. Imports `workers.records` and `workers.kernel`. Start with `protocol.UsageSources`;
`search` is the real one.
"""

from workers.sources.protocol import Candidate, Candidates, FoundUsage, UsageSources, same_usage, settle, wanted
from workers.sources.search import NOWHERE, StoredUsageSources

__all__ = [
    "NOWHERE",
    "Candidate",
    "Candidates",
    "FoundUsage",
    "StoredUsageSources",
    "UsageSources",
    "same_usage",
    "settle",
    "wanted",
]
