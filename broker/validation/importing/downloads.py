"""Downloads over HTTP, by the command that imports; a running broker downloads no schemas."""

import time
from http.client import HTTPException
from typing import NamedTuple
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from broker.validation.definitions import DataModelError
from broker.validation.importing.budget import LARGEST_DOWNLOAD, MEGABYTE

_SILENCE = 30
_CHUNK = 1 << 16
_SCHEMES = ("http", "https")


class Download(NamedTuple):
    """What was downloaded, and the address at which redirections ended."""

    content: bytes
    url: str


def is_url(text: str) -> bool:
    """Whether `text` is an address that can be downloaded from."""
    return urlsplit(text).scheme.lower() in _SCHEMES


def download(url: str, *, limit: int = LARGEST_DOWNLOAD, seconds: float = 300) -> Download:
    """What is at an http or https address.

    DataModelError if there is nothing, if it has more than `limit` bytes, takes more than `seconds` seconds in all or
    is silent for half a minute, or if a redirection leads to anything but HTTP.
    """
    end = time.monotonic() + seconds
    content = bytearray()
    try:
        request = Request(url, headers={"User-Agent": "vela", "Accept": "*/*"})  # noqa: S310 - the opener has HTTP only
        with _opener().open(request, timeout=min(_SILENCE, seconds)) as answer:
            while chunk := answer.read1(_CHUNK):
                content += chunk
                if len(content) > limit:
                    raise DataModelError(f"{url} has more than {limit // MEGABYTE} MB, too much for data models.")
                if time.monotonic() > end:
                    raise DataModelError(f"{url} was not downloaded within {seconds:g} seconds.")
            return Download(bytes(content), answer.url)
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataModelError(f"{url} cannot be downloaded: {reason}.") from error


def _opener() -> OpenerDirector:
    """An opener that knows HTTP only, also where redirections lead: the usual one reads local files and FTP, too."""
    opener = OpenerDirector()
    outcomes = (HTTPRedirectHandler, HTTPErrorProcessor, HTTPDefaultErrorHandler, UnknownHandler)
    for handler in (ProxyHandler, HTTPHandler, HTTPSHandler, *outcomes):
        opener.add_handler(handler())
    return opener
