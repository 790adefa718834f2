"""Downloads of data models, from a server of this test."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from broker.local import free_port
from broker.validation.definitions import DataModelError
from broker.validation.importing.downloads import download

CONTENT = b'{"type": "object"}' * 10_000


class Handler(BaseHTTPRequestHandler):
    released: threading.Event

    def do_GET(self) -> None:
        match self.path:
            case "/schema.json":
                self.answer(200, CONTENT)
            case "/moved":
                self.answer(302, b"", Location="/schema.json")
            case "/circle":
                self.answer(302, b"", Location="/circle")
            case "/local":
                self.answer(302, b"", Location="file:///etc/passwd")
            case "/ftp":
                self.answer(302, b"", Location="ftp://127.0.0.1/a")
            case "/slow":
                self.send_response(200)
                self.end_headers()
                while not self.released.wait(0.05):
                    self.wfile.write(b" ")
            case "/silent":
                self.released.wait()
            case _:
                self.answer(404, b"")

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    """The server's URL."""
    Handler.released = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        Handler.released.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/schema.json", "/moved"])
def test_what_is_at_an_address_is_downloaded_through_redirections(url: str, path: str) -> None:
    assert download(url + path) == (CONTENT, f"{url}/schema.json")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/nothing", "/nothing cannot be downloaded: Not Found"),
        ("/local", "/local cannot be downloaded: .*Redirection to url 'file:///etc/passwd' is not allowed"),
        ("/ftp", "/ftp cannot be downloaded: unknown url type: ftp"),
        ("/circle", "/circle cannot be downloaded: .*infinite loop"),
        ("/silent", "/silent cannot be downloaded: timed out"),
        ("/slow", r"/slow was not downloaded within 0\.3 seconds"),
    ],
)
def test_what_cannot_be_downloaded_is_refused_with_the_reason(url: str, path: str, reason: str) -> None:
    with pytest.raises(DataModelError, match=rf"(?s)^{url}{reason}"):
        download(url + path, seconds=0.3)


def test_no_more_is_downloaded_than_the_limit(url: str) -> None:
    with pytest.raises(DataModelError, match="has more than 0 MB"):
        download(f"{url}/schema.json", limit=len(CONTENT) - 1)
    assert download(f"{url}/schema.json", limit=len(CONTENT)).content == CONTENT


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:,x"])
def test_nothing_but_http_is_spoken(address: str) -> None:
    with pytest.raises(DataModelError, match="cannot be downloaded: unknown url type"):
        download(address)


def test_a_server_that_is_not_there_is_said(url: str) -> None:
    with pytest.raises(DataModelError, match=r"cannot be downloaded: .*refused"):
        download(f"http://127.0.0.1:{free_port()}/")
