"""Where the data folders that come with Vela lie: inside an installed package, or beside it in a checkout."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def bundled(name: str) -> Path:
    """The folder `name` ("datamodels" or "examples") that comes with this installation."""
    installed = PACKAGE / name
    return installed if installed.is_dir() else PACKAGE.parent / name
