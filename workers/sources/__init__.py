"""The sender's own usage: where the records behind a validation report are found again, and whole files.

Stripe names only samples of what it refused, without their content; the content is in the files that the sender
wrote. Owns listing them, converting each once into a local, bounded cache, looking identifiers up, and yielding the
rows of a meter and a time. Imports `workers.records` and `workers.kernel`. Start with `usage_sources.UsageSources`;
`stored` is the real one.
"""

from workers.sources.recording import RecordingUsageSources
from workers.sources.stored import StoredUsageSources
from workers.sources.usage_sources import Found, NoUsageSources, UsageSources, same_usage, settle, wanted

__all__ = [
    "Found",
    "NoUsageSources",
    "RecordingUsageSources",
    "StoredUsageSources",
    "UsageSources",
    "same_usage",
    "settle",
    "wanted",
]
