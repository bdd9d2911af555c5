"""One HTTP download, on its guard: only http and https, also after a redirect, and with limits to its patience."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from typing import Any, BinaryIO
from urllib.parse import urlsplit

TIMEOUT = 20.0  # seconds that one connection attempt or one read may take
PATIENCE = 60.0  # seconds after which a download must have reached...
SLOWEST = 1024  # ...this many bytes per second on average


class _GuardedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects within one scheme, or up from http to https."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        schemes = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if schemes[0] != schemes[1] and schemes != ("http", "https"):
            fp.close()
            raise urllib.error.URLError(f"refused a redirect to another scheme: {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """Like urllib's build_opener, without the handlers that open local files, FTP and data URLs."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        _GuardedRedirects,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def download(origin: str, file: BinaryIO, max_bytes: int | None = None) -> None:
    """Write what `origin` sends to `file`.

    Raises:
        OSError: no connection, an error status, a refused redirect, too slow, cut off, or more than `max_bytes`.
    """
    request = urllib.request.Request(origin, headers={"User-Agent": "nnfast"})
    try:
        with _opener().open(request, timeout=TIMEOUT) as response:
            _copy(response, file, max_bytes)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        reason = str(error) or type(error).__name__
        raise OSError(f"[get_file] the download failed: {reason}. Received: origin={origin!r}") from error


def _copy(response: http.client.HTTPResponse, file: BinaryIO, max_bytes: int | None) -> None:
    expected, received, start = response.length, 0, time.monotonic()
    if response.status != 200:
        raise OSError(f"status {response.status} instead of 200")
    while chunk := response.read1(1 << 16):  # read1 returns after one packet, so that a trickle cannot hold us
        file.write(chunk)
        received += len(chunk)
        if max_bytes is not None and received > max_bytes:
            raise OSError(f"the server sends more than the expected {max_bytes} bytes")
        seconds = time.monotonic() - start
        if seconds > PATIENCE and received < SLOWEST * seconds:
            raise TimeoutError(f"only {received} bytes in {seconds:.0f} s")
    if expected is not None and received != expected:
        raise OSError(f"it was cut off after {received} of {expected} bytes")
