"""Cross-origin requests (CORS): browsers at the configured origins may use the API; without any, nothing is added."""

from collections.abc import Collection

from aiohttp import web

_EXPOSED = "Link, Location, NGSILD-Results-Count, NGSILD-Tenant, Retry-After"
_PREFLIGHT_SECONDS = "86400"


class Cors:
    """Which origins may call from a browser: "*" stands for all."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = frozenset(origins)
        self._everyone = "*" in self._origins

    def add_headers(self, request: web.BaseRequest, response: web.Response) -> None:
        """Add to an answer what the browser of an allowed origin asks for, preflight requests included."""
        if not self._everyone:
            response.headers["Vary"] = "Origin"
        origin = request.headers.get("Origin")
        if origin is None or not (self._everyone or origin in self._origins):
            return
        response.headers["Access-Control-Allow-Origin"] = "*" if self._everyone else origin
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "")
            response.headers["Access-Control-Allow-Headers"] = request.headers.get(
                "Access-Control-Request-Headers", "*"
            )
            response.headers["Access-Control-Max-Age"] = _PREFLIGHT_SECONDS
