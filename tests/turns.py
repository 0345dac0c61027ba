"""A folder whose pace a test holds: what it holds up goes together when it lets go."""

from workers.kernel.errors import Paced
from workers.targets.files import FileTarget


class Turns(FileTarget):
    """A folder whose pace a test holds."""

    holds = False

    def keep_pace(self) -> None:
        """Let nothing new begin while the pace holds."""
        if self.holds:
            raise Paced("the folder takes a file per 10 s", retry_after=10)
