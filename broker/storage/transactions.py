"""Reading the database as it was at one instant, in several commands.

That is a transaction which writes nothing: MongoDB keeps for it what it may still read, and for nobody else
(docs/adr/0013).
"""

import inspect
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pymongo import WriteConcern
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from broker.ngsild.errors import InternalError, NgsiLdError
from broker.storage.client import DURABLE

_NO_SUCH_TRANSACTION = 251
_SHORT = 20.0
"""Seconds below which no server is taken to have ended a transaction for its length."""


@asynccontextmanager
async def snapshot(client: Any) -> AsyncIterator[Any]:
    """A session whose reads all see the database as it is for the first of them; at its end, a majority has seen it.

    Raises the errors of the driver, and InternalError where MongoDB ended it because it took too long.
    """
    concerns = {"read_concern": ReadConcern("snapshot"), "write_concern": WriteConcern(**DURABLE)}
    began = time.monotonic()
    try:
        async with await opened(client.start_session()) as session, await opened(session.start_transaction(**concerns)):
            yield session
    except (OperationFailure, NgsiLdError) as error:
        cause = error if isinstance(error, OperationFailure) else error.__cause__
        seconds = time.monotonic() - began
        if isinstance(cause, OperationFailure) and cause.code == _NO_SUCH_TRANSACTION and seconds > _SHORT:
            raise InternalError(
                f"Reading the database as it was at one instant took {seconds:.0f} s, more than MongoDB lets a "
                "transaction go on: start each mongod with a higher --setParameter transactionLifetimeLimitSeconds."
            ) from error
        raise


async def opened(opening: Any) -> Any:
    """What PyMongo or Motor opens: the one has some of it awaited, the other the rest."""
    return await opening if inspect.isawaitable(opening) else opening
