"""The ledger's tables. Migrations under `migrations/` bring a database to this form."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from workers.kernel.clock import from_text, to_text


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC datetime, stored as RFC 3339 text that sorts in the order of time on every database."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> str | None:
        return None if value is None else to_text(value)

    def process_result_value(self, value: Any, _dialect: Dialect) -> datetime | None:
        return None if value is None else from_text(value)


class Quantity(TypeDecorator[Decimal]):
    """An exact quantity, stored as plain decimal text; databases' own decimals round."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, _dialect: Dialect) -> str | None:
        return None if value is None else format(value, "f")

    def process_result_value(self, value: Any, _dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


metadata = MetaData()

events = Table(
    "events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("account", Text),
    Column("livemode", Boolean, nullable=False),
    Column("object_id", Text),
    Column("created_at", UtcTime),
    Column("received_at", UtcTime, nullable=False),
    Column("raw", LargeBinary),
    Column("sha256", String(64), nullable=False),
    Column("origin", Text, nullable=False, server_default="delivered"),
    Column("large", Boolean, nullable=False, server_default=false()),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("attempts", Integer, nullable=False, default=0),
    Column("deaths", Integer, nullable=False, default=0),
    Column("lease_owner", Text),
    Column("due_at", UtcTime),
    Column("fetched", LargeBinary),
    Column("erased", JSON(none_as_null=True)),
    Index("events_due", "state", "due_at"),
    Index("events_received", "received_at"),
    Index("events_state", "state", "received_at"),
    Index("events_type", "type", "received_at"),
)

TROUBLED: Final = text("trouble IS NOT NULL")

cases = Table(
    "cases",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("account", Text),
    Column("livemode", Boolean, nullable=False),
    Column("code", Text),
    Column("meter_id", Text),
    Column("event_name", Text),
    Column("import_set_id", Text),
    Column("window_start", Text),
    Column("window_end", Text),
    Column("summary", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("head", String(64), nullable=False),
    Column("balance", JSON, nullable=False),
    Column("lease_owner", Text),
    Column("lease_until", UtcTime),
    Column("due_at", UtcTime),
    Column("attempts", Integer, nullable=False, default=0),
    Column("deaths", Integer, nullable=False, default=0),
    Column("trouble", Text),
    Column("alerted", Text),
    Column("opened_at", UtcTime, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
    Column("deadline", UtcTime),
    Column("size", Text, nullable=False, server_default=""),
    Column("meters", JSON),
    Column("named", Integer, nullable=False, server_default="0"),
    Column("too_old_at", UtcTime),
    Column("invoice_at", UtcTime),
    Column("invoice_of", Text),
    Column("payers", JSON),
    Column("at_risk", JSON),
    Column("lacks", JSON),
    Column("urgent_at", UtcTime),
    Column("appraise_at", UtcTime),
    Column("open_records", BigInteger, nullable=False, server_default="0"),
    Index("cases_due", "due_at"),
    Index("cases_changed", "changed_at"),
    Index("cases_opened", "opened_at"),
    Index("cases_deadline", "deadline"),
    Index("cases_size", "size"),
    Index("cases_urgent", "urgent_at"),
    Index("cases_appraise", "appraise_at"),
    Index("cases_state", "state", "changed_at"),
    Index("cases_state_urgent", "state", "urgent_at"),
    Index("cases_state_size", "state", "size"),
    Index("cases_open", "state", "deadline", "open_records"),
    Index("cases_trouble", "due_at", "changed_at", sqlite_where=TROUBLED, postgresql_where=TROUBLED),
    Index("cases_windows", "code", "meter_id", "window_end"),
)

case_names = Table(
    "case_names",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("case_id", Text, ForeignKey("cases.id"), primary_key=True),
    Index("case_names_case", "case_id", "kind"),
)

case_examples = Table(
    "case_examples",
    metadata,
    Column("case_id", Text, ForeignKey("cases.id"), primary_key=True),
    Column("samples", JSON, nullable=False),
    Column("changes", JSON, nullable=False),
)

standings = Table(
    "standings",
    metadata,
    Column("case_id", Text, ForeignKey("cases.id"), primary_key=True),
    Column("bucket", Text, primary_key=True),
    Column("code", Text, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("meter", Text, primary_key=True),
    Column("customer", Text, primary_key=True),
    Column("records", BigInteger, nullable=False),
    Column("quantity", Quantity, nullable=False),
    Index("standings_cause", "bucket", "code", "reason", "meter", "customer", "records"),
    Index("standings_code", "case_id", "code", "bucket", "records"),
)

open_usage = Table(
    "open_usage",
    metadata,
    Column("case_id", Text, ForeignKey("cases.id"), primary_key=True),
    Column("meter", Text, primary_key=True),
    Column("records", BigInteger, nullable=False),
    Column("quantity", Quantity, nullable=False),
)

open_money = Table(
    "open_money",
    metadata,
    Column("case_id", Text, ForeignKey("cases.id"), primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("low", Quantity, nullable=False),
    Column("high", Quantity, nullable=False),
)

meter_prices = Table(
    "meter_prices",
    metadata,
    Column("account", Text, primary_key=True),
    Column("event_name", Text, primary_key=True),
    Column("formula", Text),
    Column("prices", JSON, nullable=False),
    Column("lack", Text),
    Column("read_at", UtcTime, nullable=False),
)

billing_periods = Table(
    "billing_periods",
    metadata,
    Column("account", Text, primary_key=True),
    Column("customer", Text, primary_key=True),
    Column("ends_at", UtcTime),
    Column("lack", Text),
    Column("read_at", UtcTime, nullable=False),
)

recoveries = Table(
    "recoveries",
    metadata,
    Column("case_id", Text, ForeignKey("cases.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("meter", Text, primary_key=True),
    Column("records", BigInteger, nullable=False),
    Column("quantity", Quantity, nullable=False),
    Column("money", JSON, nullable=False),
    Column("at", UtcTime, nullable=False),
    Index("recoveries_at", "at"),
)

joined_windows = Table(
    "joined_windows",
    metadata,
    Column("key", Text, primary_key=True),
    Column("case_id", Text, ForeignKey("cases.id"), nullable=False),
)

entries = Table(
    "entries",
    metadata,
    Column("case_id", Text, ForeignKey("cases.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("from_bucket", Text),
    Column("to_bucket", Text),
    Column("records", BigInteger, nullable=False),
    Column("quantity", Quantity, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("record_set", Text),
    Column("record_set_sha256", String(64)),
    Column("submission_id", Text),
    Column("event_id", Text),
    Column("actor", Text, nullable=False),
    Column("detail", JSON, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("entries_event", "event_id"),
    Index("entries_at", "at", "from_bucket", "to_bucket", "records"),
)

links = Table(
    "links",
    metadata,
    Column("lane", Integer, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("case_id", Text, ForeignKey("cases.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("head", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

case_totals = Table(
    "case_totals",
    metadata,
    Column("lane", Integer, primary_key=True),
    Column("totals", JSON, nullable=False),
)

event_counts = Table(
    "event_counts",
    metadata,
    Column("lane", Integer, primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in ("done", "ignored", "failed")),
)

awaited = Table(
    "awaited",
    metadata,
    Column("case_id", Text, ForeignKey("cases.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("rules", Text, nullable=False),
    Column("look_at", UtcTime, nullable=False),
    Column("until", UtcTime, nullable=False),
    Index("awaited_name", "name"),
)

submissions = Table(
    "submissions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("case_id", Text, ForeignKey("cases.id"), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("target", Text, nullable=False),
    Column("location", Text),
    Column("state", Text, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("quantity", Quantity, nullable=False),
    Column("event_names", JSON, nullable=False),
    Column("record_set", Text, nullable=False),
    Column("record_set_sha256", String(64), nullable=False),
    Column("import_set_id", Text),
    Column("verdict", Text),
    Column("intended_at", UtcTime, nullable=False),
    Column("sent_at", UtcTime),
    Column("confirm_at", UtcTime),
    Index("submissions_case", "case_id"),
    Index("submissions_state", "state", "confirm_at"),
)

submission_turns = Table(
    "submission_turns",
    metadata,
    Column("account", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("submission_id", Text, ForeignKey("submissions.id"), nullable=False),
)

chunks = Table(
    "submission_chunks",
    metadata,
    Column("submission_id", Text, ForeignKey("submissions.id"), primary_key=True),
    Column("undo_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("result", JSON),
    Column("intended_at", UtcTime, nullable=False),
    Column("finished_at", UtcTime),
    Column("first", BigInteger),
    Column("records", BigInteger),
    Column("withheld", JSON),
    Column("verdict", JSON),
    Column("file", Text),
    Index("submission_chunks_file", "file"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", JSON, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("ends_at", UtcTime, nullable=False),
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at", UtcTime, nullable=False),
)

fault_kinds = Table(
    "fault_kinds",
    metadata,
    Column("account", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("event_id", Text, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    Column("struck", Text),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("account", Text),
    Column("livemode", Boolean, nullable=False),
    Column("opened_at", UtcTime, nullable=False),
    Column("last_at", UtcTime, nullable=False),
    Column("cases", Integer, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("changes", BigInteger, nullable=False),
    Column("said", JSON),
    Column("due_at", UtcTime),
    Column("over_at", UtcTime),
    Index("incidents_key", "key", "last_at"),
    Index("incidents_last", "last_at"),
    Index("incidents_due", "due_at"),
)

incident_cases = Table(
    "incident_cases",
    metadata,
    Column("case_id", Text, ForeignKey("cases.id"), primary_key=True),
    Column("incident_id", Text, ForeignKey("incidents.id"), nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("status", JSON, nullable=False),
    Index("incident_cases_incident", "incident_id"),
)

reminders = Table(
    "reminders",
    metadata,
    Column("case_id", Text, ForeignKey("cases.id"), primary_key=True),
    Column("share", Integer, nullable=False),
    Column("deadline", UtcTime, nullable=False),
    Column("told_at", UtcTime),
    Index("reminders_told", "told_at"),
)

troubles = Table(
    "troubles",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("subject", Text, nullable=False),
    Column("trouble", JSON, nullable=False),
    Column("untold", Integer, nullable=False),
    Column("noted_at", UtcTime, nullable=False),
    Column("told_at", UtcTime),
)

alert_channels = Table(
    "alert_channels",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("messages", JSON, nullable=False),
    Column("updates", JSON, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("paused_until", UtcTime),
    Column("deaths", Integer, nullable=False, default=0),
    Column("lease_owner", Text),
    Column("held_until", UtcTime),
)

acts = Table(
    "acts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text),
    Column("arguments", JSON, nullable=False),
    Column("actor", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("asked_at", UtcTime, nullable=False),
    Column("effect", JSON),
    Column("fingerprint", String(64)),
    Column("approvals", JSON, nullable=False),
    Column("ended_at", UtcTime),
    Column("outcome", JSON),
    Index("acts_subject", "subject", "asked_at"),
    Index("acts_state", "state", "asked_at"),
    Index("acts_asked", "asked_at"),
)

rules = Table(
    "rules",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("value", Text, nullable=False),
    Column("act_id", Text, ForeignKey("acts.id"), nullable=False),
    Column("actor", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("made_at", UtcTime, nullable=False),
    Column("reverted_at", UtcTime),
    Column("reverted_by", Text),
    Index("rules_key", "kind", "key"),
)

users = Table(
    "users",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("made_at", UtcTime, nullable=False),
    Column("disabled_at", UtcTime),
)
