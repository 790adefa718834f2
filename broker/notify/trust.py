"""Which certificates endpoints may show: those of the system's CAs, and what the operator adds.

A subscription can name a file of CAs of its own (`TLS-CA-File` in its notifierInfo): by a plain name, and only inside
of the folder that the operator made for it. Verification cannot be turned off.
"""

import re
import ssl
from pathlib import Path

CA_FILE = "TLS-CA-File"
"""The key in notifierInfo."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._\-]{0,99}")


class UntrustworthyError(Exception):
    """A CA file cannot be used; the text is a sentence that says why."""


class Trust:
    """TLS contexts. `ca_file` is trusted beside the system's CAs; `ca_folder` has files that subscriptions may name.

    A file that was replaced counts from the next connection on.
    """

    def __init__(self, ca_file: Path | None = None, ca_folder: Path | None = None) -> None:
        self._ca_file = ca_file
        self._ca_folder = ca_folder
        self._contexts: dict[str | None, tuple[int, ssl.SSLContext]] = {}

    def context(self, name: str | None = None) -> ssl.SSLContext:
        """What a connection trusts: only the CAs of the file called `name`, or those for all endpoints.

        Raises UntrustworthyError where the file cannot be used.
        """
        path = self._ca_file if name is None else self._in_folder(name)
        try:
            changed = 0 if path is None else path.stat().st_mtime_ns
            known = self._contexts.get(name)
            if known is None or known[0] != changed:
                known = self._contexts[name] = changed, self._load(path, alone=name is not None)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise UntrustworthyError(_unusable(path, name, error)) from error
        return known[1]

    def _in_folder(self, name: str) -> Path:
        if self._ca_folder is None:
            raise UntrustworthyError(
                f"This broker has no folder of CA files: leave {CA_FILE} out, or ask its operator for one "
                "(VELA_NOTIFICATION_CA_DIR)."
            )
        if _NAME.fullmatch(name) is None:
            raise UntrustworthyError(f"{CA_FILE} is {name!r:.80}: expected the plain name of a file, such as city.pem.")
        return self._ca_folder / name

    def _load(self, path: Path | None, *, alone: bool) -> ssl.SSLContext:
        if path is None:
            return ssl.create_default_context()
        context = ssl.create_default_context(cafile=path) if alone else ssl.create_default_context()
        if not alone:
            context.load_verify_locations(cafile=path)
        return context


def _unusable(path: Path | None, name: str | None, error: Exception) -> str:
    missing = isinstance(error, FileNotFoundError)
    reason = "does not exist" if missing else "cannot be used: expected certificates in PEM"
    return f"The CA file {path if name is None else name} {reason}."
