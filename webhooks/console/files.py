"""Files of a case for whoever may see whole records, streamed from the archive, and those that he puts there.

No address has a path in it: it names an event, an act, or by its digest a file that the case's own journal names.
The archive is read in gevent's threads, so that Stripe's posts go on meanwhile.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import gevent
from flask import Blueprint, Response, abort, current_app, make_response, render_template, request
from flask.typing import ResponseReturnValue
from flask_login import current_user  # type: ignore[import-untyped]
from werkzeug.datastructures import FileStorage

from webhooks.console.address import the_ledger
from webhooks.console.session import require_login, require_role
from workers.kernel.errors import InputUnusable, MetermendError
from workers.kernel.files import kept_name, sha256_of
from workers.kernel.ledger import parts
from workers.kernel.ledger.acts import CSV, HAND_OUT, ActState
from workers.kernel.ledger.case_transaction import EVIDENCE
from workers.kernel.ledger.journal import EntryKind
from workers.kernel.ledger.queries import EntryRow
from workers.kernel.ledger.users import Role
from workers.kernel.storage import Store, open_store

blueprint = Blueprint("files", __name__, url_prefix="/console/files", template_folder="templates")
blueprint.before_request(require_login)

LARGEST_UPLOAD: Final = 8 * 1024 * 1024
"""Bytes of a form with a file in it; a larger CSV is taken at the terminal."""
_UPLOADS: Final = ("acts.ask_by_file", "pages.take_in")
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_TYPES: Final = {".csv": "text/csv; charset=utf-8", ".json": "application/json"}


@dataclass(frozen=True)
class KeptFile:
    """A file that shows why entries were made. `digest` is its sha256."""

    name: str
    digest: str

    @property
    def label(self) -> str:
        """What it is called without its digest: `failed_records.csv`."""
        label, _, rest = self.name.rpartition("/")[2].rpartition("-")
        return label + "".join(rest.partition(".")[1:])


def evidence_of(entries: Sequence[EntryRow]) -> list[KeptFile]:
    """Return the files of a case that its journal names and that retention has not removed."""
    removed = max((entry.number for entry in entries if entry.kind == EntryKind.REMOVED), default=0)
    named = {
        name: digest
        for entry in entries
        if entry.number > removed
        for name, digest in entry.detail.get(EVIDENCE, {}).items()
    }
    return [KeptFile(name, digest) for name, digest in named.items()]


@blueprint.get("/cases/<case_id>/<digest>")
def evidence(case_id: str, digest: str) -> ResponseReturnValue:
    """Hand out a file that shows why an entry was made, as Stripe or the sender wrote it."""
    require_role(Role.OPERATOR)
    found = (file for file in evidence_of(the_ledger().queries.entries(case_id)) if file.digest == digest)
    file = next(found, None) or abort(404)
    return _streamed(file.name)


@blueprint.get("/acts/<act_id>")
def written(act_id: str) -> ResponseReturnValue:
    """Hand out the CSV that a worker has written; a part to the one who has taken it, until it is told of.

    A part has the name by which Stripe's verdict is known to be on it.
    """
    require_role(Role.OPERATOR)
    try:
        act = the_ledger().acts.get(act_id)
    except InputUnusable:
        abort(404)
    if act.kind not in (CSV, HAND_OUT) or act.state is not ActState.DONE:
        abort(404)
    taken = parts.out(the_ledger(), act.arguments.get("account")) if act.kind == HAND_OUT else act
    if taken != act or (act.kind == HAND_OUT and act.actor != current_user.name):
        abort(403)
    outcome = act.outcome or {}
    return _streamed(outcome["file"][0], outcome.get("part"))


@blueprint.get("/events/<path:event_id>")
def event(event_id: str) -> ResponseReturnValue:
    """Hand out an event's body as Stripe delivered it, or as it was fetched."""
    found = the_ledger().events.get(event_id) or abort(404)
    fetched = "fetched" in request.args
    body = the_ledger().events.fetched(event_id) if fetched else found.raw
    if body is None:
        abort(404)
    return _attached(make_response(body), f"{event_id[:80]}{'-fetched' if fetched else ''}.json")


def keep_upload(case_id: str, label: str, file: FileStorage) -> list[str]:
    """Keep what was put on a page in the archive, and return its name and sha256. Raises as the archive does."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "upload.csv"
        file.save(path)
        digest = sha256_of(path)
        name = kept_name(case_id, label, path, digest)
        put_into_archive(name, path)
    return [name, digest]


def put_into_archive(name: str, path: Path) -> None:
    """Put a file into the archive, while others are served. Raises as the archive does."""
    _waited_for(_store().put_file, name, path)


def make_room() -> None:
    """Let who is logged in put a file on a page; every other form is as small as a webhook."""
    if request.endpoint in _UPLOADS and current_user.is_authenticated:
        request.max_content_length = LARGEST_UPLOAD


def _streamed(name: str, called: str | None = None) -> ResponseReturnValue:
    store = _store()
    try:
        there = _waited_for(store.head, name)
    except MetermendError as error:
        return _unreadable(str(error))
    if there is None:
        return _unreadable("The archive has no such file. Web and workers must name the same ARCHIVE_URL.")
    answer = Response(_chunks(store, name))
    answer.content_length = there.size
    return _attached(answer, called or there.name)


def _chunks(store: Store, name: str) -> Iterator[bytes]:
    there = iter(store.chunks(name))
    while chunk := _waited_for(next, there, b""):
        yield chunk


def _attached(answer: Response, name: str) -> Response:
    """Let a browser keep an answer as a file, and never show it."""
    safe = _UNSAFE.sub("_", name)
    answer.headers["Content-Type"] = _TYPES.get(Path(safe).suffix, "application/octet-stream")
    answer.headers["Content-Disposition"] = f'attachment; filename="{safe}"'
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _unreadable(why: str) -> ResponseReturnValue:
    return render_template("console/error.html", title="The file cannot be read", advice=why), 503


def _waited_for(work: Any, *arguments: Any) -> Any:
    """Return what work brings that would keep the loop, and so every other connection, waiting."""
    return gevent.get_hub().threadpool.apply(work, arguments)


def _store() -> Store:
    """Open the archive when it is first asked for: nothing is connected before."""
    kept = current_app.extensions
    if "archive_store" not in kept:
        kept["archive_store"] = open_store(kept["settings"].archive_url)
    store: Store = kept["archive_store"]
    return store
