"""Cross-origin requests (CORS): browsers at the configured origins may use the API; without any, nothing is added."""

from collections.abc import Collection

from aiohttp import hdrs, web

from broker.web.lane import Request

_PREFLIGHT_SECONDS = "86400"


class Cors:
    """Which origins may call from a browser ("*" stands for all), and which headers of answers they see."""

    def __init__(self, origins: Collection[str], exposed: Collection[str]) -> None:
        self._origins = frozenset(origins)
        self._everyone = "*" in self._origins
        self._exposed = ", ".join(exposed)

    def add_headers(self, request: Request, response: web.Response) -> None:
        """Add to an answer what the browser of an allowed origin asks for, preflight requests included."""
        headers = response.headers
        if not self._everyone:
            headers.add(hdrs.VARY, hdrs.ORIGIN)
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or not (self._everyone or origin in self._origins):
            return
        headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*" if self._everyone else origin
        if self._exposed:
            headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = self._exposed
        if request.method == "OPTIONS" and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
            headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = headers.get(hdrs.ALLOW, "")
            headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "*")
            headers[hdrs.ACCESS_CONTROL_MAX_AGE] = _PREFLIGHT_SECONDS
