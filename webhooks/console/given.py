"""A failed-records file that a person puts on a page: it is kept, and a worker takes it in as an event."""

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from flask import current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user  # type: ignore[import-untyped]

from webhooks.console.acts import field_of
from webhooks.console.address import the_ledger
from webhooks.console.files import put_into_archive
from webhooks.console.session import require_role
from workers.kernel.errors import InputUnusable, MetermendError, Transient
from workers.kernel.files import sha256_of
from workers.kernel.given_file import GivenFile, give
from workers.kernel.jobqueue import JobQueue
from workers.kernel.ledger.users import Role


def take_in() -> ResponseReturnValue:
    """Keep the file, and lead to the page of its event, which shows what comes of it."""
    require_role(Role.OPERATOR)
    file = request.files.get("file")
    if file is None or not file.filename:
        return redirect(url_for("pages.event_list", missing="file", _anchor="take-in"))
    settings = current_app.extensions["settings"]
    said = {name: field_of(name) or None for name in ("account", "import_set", "imported_as")}
    try:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "given"
            file.save(path)
            given = GivenFile(sha256_of(path), file.filename, current_user.name, **said)
            event = give(the_ledger(), given, path, put_into_archive, livemode=settings.livemode)
    except InputUnusable as error:
        return render_template("console/error.html", title="Nothing was taken in", advice=str(error)), 400
    except MetermendError as error:
        return render_template("console/error.html", title="The file cannot be kept", advice=str(error)), 503
    if event is not None:
        queue: JobQueue = current_app.extensions["job_queue"]
        with suppress(Transient):  # then the clock finds it due
            queue.enqueue_new([event.id], large=event.large)
    return redirect(url_for("pages.event_page", event_id=given.event_id))
