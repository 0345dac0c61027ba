"""What an S3 that fails looks like to the rest of the product. A small HTTP server plays it."""

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from workers.kernel.errors import MetermendError, Permanent, SettingsUnusable, Transient
from workers.kernel.storage import Store, open_store

Answer = Callable[[BaseHTTPRequestHandler], None]


def status(code: int) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def cut_in_the_middle(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.send_header("ETag", '"abc"')
    handler.send_header("Last-Modified", "Sat, 21 Nov 2026 09:00:00 GMT")
    handler.end_headers()
    handler.wfile.write(b"x" * 500)
    handler.close_connection = True


class Bucket(ThreadingHTTPServer):
    answer: Answer = staticmethod(status(500))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Bucket)
        self.server.answer(self)

    def do_PUT(self) -> None:
        self.do_GET()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with Bucket(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def store(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Store:
    return reach(f"http://127.0.0.1:{bucket.server_port}", monkeypatch)


def reach(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "made-up")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")
    return open_store("s3://some-bucket/folder")


@pytest.mark.parametrize(
    ("code", "kind"),
    [(503, Transient), (500, Transient), (429, Transient), (400, Permanent), (403, SettingsUnusable)],
)
def test_a_status_says_whether_to_try_again(
    bucket: Bucket, store: Store, tmp_path: Path, code: int, kind: type[MetermendError]
) -> None:
    bucket.answer = status(code)
    started = time.monotonic()
    with pytest.raises(kind, match="s3://some-bucket/folder/k"):
        store.get_to_file("k", tmp_path / "back", 10_000)
    assert time.monotonic() - started < 60


def test_an_answer_cut_in_the_middle_leaves_no_file(bucket: Bucket, store: Store, tmp_path: Path) -> None:
    """Half a file of usage taken for the whole is half the revenue."""
    bucket.answer = cut_in_the_middle
    with pytest.raises(Transient):
        store.get_to_file("k", tmp_path / "back", 10_000)
    assert list(tmp_path.iterdir()) == []


def test_nobody_listening_is_worth_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "k").write_bytes(b"x")
    with pytest.raises(Transient, match="cannot be reached"):
        reach("http://127.0.0.1:1", monkeypatch).put_if_absent("k", tmp_path / "k")
