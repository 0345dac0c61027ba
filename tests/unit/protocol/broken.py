"""Two protocols that look right and are not, to show that the machine tells them apart from ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.unit.protocol.world import World
from workers.records.identifiers import origin_of, revision_identifier
from workers.records.schema import IDENTIFIER
from workers.targets import Chunk, Outgoing, Progress, Sent, Target
from workers.targets.meter_events import MeterEventsTarget


class IntentAfterSend(World):
    """What was sent is written down once the answer is there, so that a crash before that sends it as if new."""

    def target(self) -> Target:
        return _LateIntent(self.stripe, self.clock)


class NewIdentifierOnTimeout(World):
    """A call that went unanswered is tried again under an identifier of its own, "to be safe"."""

    def target(self) -> Target:
        return _Renaming(self.stripe, self.clock)


class _LateIntent(MeterEventsTarget):
    def send(self, outgoing: Outgoing, progress: Progress) -> Sent:
        return super().send(outgoing, _IntendedWhenFinished(progress))


@dataclass
class _IntendedWhenFinished:
    progress: Progress

    def chunks(self) -> Mapping[int, Chunk]:
        return {number: chunk for number, chunk in self.progress.chunks().items() if chunk.result is not None}

    def intend(self, number: int) -> None:
        pass

    def finish(self, number: int, result: Any) -> None:
        if number not in self.progress.chunks():
            self.progress.intend(number)
        self.progress.finish(number, result)


class _Renaming(MeterEventsTarget):
    def _send_chunk(self, records: Sequence[dict[str, Any]], outgoing: Outgoing, before: Chunk | None) -> Any:
        if before is not None:
            records = [{**record, IDENTIFIER: _next(record[IDENTIFIER])} for record in records]
        return super()._send_chunk(records, outgoing, None)


def _next(identifier: str) -> str:
    _, revision = origin_of(identifier)
    return revision_identifier(identifier, revision + 1)
