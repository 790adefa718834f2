"""The one place where a MongoDB client is made, and where its errors become Vela's.

The driver is PyMongo's asyncio API, or Motor where the setting asks for it: both offer the same calls. A cluster is
accepted only if it can keep Vela's promises: a replica set (or a sharded cluster), version 5 or later.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymongo
from bson import ObjectId
from bson.errors import BSONError, InvalidDocument
from pymongo import errors as driver
from pymongo.asynchronous.database import AsyncDatabase

from broker.ngsild.errors import BadRequestData, InternalError, NgsiLdError, PayloadTooLarge, Unavailable

DURABLE: dict[str, Any] = {"w": "majority", "j": True}
"""Write concern of every acknowledged write: journaled on a majority (DESIGN 1.1)."""

APPLIED: dict[str, Any] = {"w": 1, "j": False}
"""Write concern of a write that need not be durable before a later one is."""

Election = ObjectId
"""Names the election that made a server the primary: answers with the same one come from the same reign."""

Database = AsyncDatabase[dict[str, Any]]

_MINIMUM_VERSION = 5
_HISTORY = "minSnapshotHistoryWindowInSeconds"
_EXPECTED_URI = "a connection string such as mongodb://USER:PASSWORD@HOST1,HOST2/?replicaSet=NAME"
_LOST = (
    driver.ConnectionFailure,
    driver.ServerSelectionTimeoutError,
    driver.ExecutionTimeout,
    driver.WaitQueueTimeoutError,
    driver.WriteConcernError,
)
_RETRIABLE_CODES = {11600, 11602, 10107, 13435, 13436, 189, 91, 7, 6, 89, 9001, 262, 50, 64}
"""Server answers that mean "not now": stepping down, shutting down, interrupted, a timeout."""

_TOO_LARGE_CODES = {10334, 17419, 17420}
_BAD_VALUE = 2
"""What an insert of a document that is too large answers, among other things; its text tells."""

_NOT_EVALUABLE = {2, 16755, 16756, 51091}
"""Answers that blame a value of the statement: a geometry that S2 refuses, a pattern that PCRE refuses."""

_REASON_AFTER_DOCUMENT = re.compile(r"\] ([A-Z][^.{}\[\]]*)\.")
"""Where the server repeats the document whose geometry it refuses, the reason follows the coordinates."""


class UnusableStorage(Exception):
    """MongoDB answers, but cannot keep Vela's promises; the message says what to do."""


class Mongo:
    """A connected client. `control` holds what belongs to the broker; each tenant's entities have a database."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name

    @classmethod
    async def connect(
        cls,
        uri: str,
        *,
        driver_name: str = "pymongo",
        database: str = "vela",
        timeout: float = 5.0,  # noqa: ASYNC109 - it is handed to the driver
    ) -> "Mongo":
        """Connect and check the server.

        Unavailable if nobody answers; UnusableStorage if `uri` or `database` makes no sense, if the server refuses the
        user, or if it is no replica set ≥ 5.
        """
        options: dict[str, Any] = {
            "serverSelectionTimeoutMS": int(timeout * 1000),
            "connectTimeoutMS": int(timeout * 1000),
            "retryWrites": True,
            "appname": "vela",
            "compressors": [],
        }
        try:
            mongo = cls(_client(driver_name, uri, options), database)
            mongo.database(database)
        except driver.InvalidName as error:
            raise UnusableStorage(
                f"--database is {database!r}, which cannot be a database of MongoDB ({error})."
            ) from error
        except (driver.PyMongoError, ValueError) as error:
            raise UnusableStorage(f"--mongo-uri cannot be used ({error}); expected {_EXPECTED_URI}.") from error
        try:
            with storage_errors():
                await mongo._check()
        except InternalError as error:
            await mongo.close()
            raise UnusableStorage(
                f"The MongoDB of --mongo-uri cannot be used ({said(error.__cause__)}); expected {_EXPECTED_URI}."
            ) from error
        except BaseException:
            await mongo.close()
            raise
        return mongo

    async def _check(self) -> None:
        hello = await self.client.admin.command("hello")
        version = (await self.client.admin.command("buildInfo"))["version"]
        if int(version.split(".")[0]) < _MINIMUM_VERSION:
            raise UnusableStorage(f"MongoDB {version} is too old: Vela needs version {_MINIMUM_VERSION} or later.")
        if "setName" not in hello and hello.get("msg") != "isdbgrid":
            raise UnusableStorage(
                "This MongoDB is a standalone server: it cannot promise durability on a majority nor report changes. "
                "Fix: start mongod with --replSet rs0 and run once: mongosh --eval 'rs.initiate()'"
            )

    @property
    def control(self) -> Any:
        """The database of tenants, subscriptions, the outbox, @contexts and processes."""
        return self.client[self.name]

    def database(self, name: str) -> Any:
        """The database called `name`."""
        return self.client[name]

    async def history_window(self) -> int:
        """Seconds for which MongoDB keeps the versions of documents that were replaced; 0 where it does not tell."""
        with storage_errors():
            try:
                answer = await self.client.admin.command({"getParameter": 1, _HISTORY: 1})
            except driver.OperationFailure:  # the user may not ask, or a mongos answers, which has no such parameter
                return 0
        return int(answer[_HISTORY])

    async def ping(self) -> None:
        """Unavailable if MongoDB does not answer."""
        with storage_errors():
            await self.client.admin.command("ping")

    async def close(self) -> None:
        """Close all connections."""
        closing = self.client.close()
        if closing is not None:
            await closing


def _client(driver_name: str, uri: str, options: dict[str, Any]) -> Any:
    if driver_name == "motor":
        from motor.motor_asyncio import AsyncIOMotorClient  # an optional dependency

        return AsyncIOMotorClient(uri, **options)
    return pymongo.AsyncMongoClient(uri, **options)


def said(error: BaseException | None) -> str:
    """What the server or the driver gave as the reason, in its shortest form: without a document."""
    details = error.details if isinstance(error, driver.OperationFailure) else None
    text = str((details or {}).get("errmsg", error))
    reasons = _REASON_AFTER_DOCUMENT.findall(text)
    return reasons[-1] if reasons else text.partition(": {")[0].rstrip(".")


def translate(error: Exception) -> NgsiLdError:
    """Vela's error for an error of the driver; lost storage is Unavailable (503 with Retry-After)."""
    code = getattr(error, "code", None)
    too_large = code in _TOO_LARGE_CODES or (code == _BAD_VALUE and "too large" in str(error))
    if isinstance(error, driver.DocumentTooLarge) or too_large:
        return PayloadTooLarge("The entity would exceed what MongoDB can keep in one document (16 MiB): split it up.")
    if code in _NOT_EVALUABLE:
        return BadRequestData(f"MongoDB cannot use the geometry or pattern: {said(error)}.")
    if isinstance(error, _LOST) or code in _RETRIABLE_CODES or error_has_label(error):
        return Unavailable("The storage does not answer at the moment; try again.")
    if isinstance(error, InvalidDocument | BSONError | OverflowError):
        return BadRequestData("The data cannot be kept by MongoDB: it holds a value that BSON cannot express.")
    return InternalError("The storage refused the operation unexpectedly; the log of the broker has the cause.")


def error_has_label(error: Exception) -> bool:
    """Whether the driver itself says that trying again may help."""
    return isinstance(error, driver.PyMongoError) and (
        error.has_error_label("RetryableWriteError") or error.has_error_label("TransientTransactionError")
    )


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn every error of the driver into one of Vela's, with the cause kept."""
    try:
        yield
    except (driver.PyMongoError, BSONError, OverflowError) as error:
        raise translate(error) from error
