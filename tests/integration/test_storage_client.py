"""The client of MongoDB: connecting, and the translation of every error of the driver."""

import gc
import inspect
from collections.abc import AsyncIterator
from typing import Any

import bson.errors
import pymongo.errors
import pytest
from bson.errors import BSONError
from pymongo.errors import OperationFailure, PyMongoError

from broker.local import free_port
from broker.ngsild.errors import BadRequestData, InternalError, NgsiLdError, PayloadTooLarge, Unavailable
from broker.storage.client import Mongo, UnusableStorage, storage_errors, translate

DRIVERS = ["pymongo", "motor"]
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "BulkWriteError": ({"writeErrors": []},),
    "ClientBulkWriteException": ({"error": None}, False),
    "EncryptedCollectionError": (ValueError("x"), {}),
    "EncryptionError": (ValueError("x"),),
}
LOST = {
    "AutoReconnect",
    "ConnectionFailure",
    "ExecutionTimeout",
    "NetworkTimeout",
    "NotPrimaryError",
    "ServerSelectionTimeoutError",
    "WaitQueueTimeoutError",
    "WriteConcernError",
    "WTimeoutError",
}


def _error_classes() -> list[type[Exception]]:
    modules = (pymongo.errors, bson.errors)
    found = {
        value
        for module in modules
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, Exception) and value.__module__ in {one.__name__ for one in modules}
    }
    return sorted(found, key=lambda one: one.__name__)


def _made(kind: type[Exception]) -> Exception:
    return kind(*ARGUMENTS.get(kind.__name__, ("internals of the driver",)))


def server_error(code: int, text: str = "internals of MongoDB") -> Exception:
    return pymongo.errors.OperationFailure(text, code)


@pytest.fixture(params=DRIVERS)
async def mongo(request: pytest.FixtureRequest, mongo_uri: str, database_name: str) -> AsyncIterator[Mongo]:
    if request.param == "motor":
        pytest.importorskip("motor")
    connected = await Mongo.connect(mongo_uri, driver_name=request.param, database=database_name)
    yield connected
    await connected.close()


def test_all_error_classes_of_the_driver_are_known() -> None:
    names = {kind.__name__ for kind in _error_classes()}
    assert names >= LOST | {"PyMongoError", "BSONError", "OperationFailure", "DocumentTooLarge", "InvalidBSON"}
    assert all(issubclass(kind, PyMongoError | BSONError) for kind in _error_classes())


@pytest.mark.parametrize("kind", _error_classes(), ids=lambda kind: kind.__name__)
def test_every_error_of_the_driver_becomes_one_of_ours(kind: type[Exception]) -> None:
    error = _made(kind)
    with pytest.raises(NgsiLdError) as caught, storage_errors():
        raise error
    assert caught.value.__cause__ is error
    assert "internals" not in caught.value.detail
    if kind.__name__ in LOST:
        assert isinstance(caught.value, Unavailable)
    if isinstance(caught.value, Unavailable):
        assert caught.value.status == 503
        assert int(caught.value.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (pymongo.errors.DocumentTooLarge("x"), PayloadTooLarge),
        (server_error(10334), PayloadTooLarge),
        (server_error(17419), PayloadTooLarge),
        (server_error(2, "object to insert too large. size in bytes: 16779238"), PayloadTooLarge),
        (server_error(16755), BadRequestData),
        (server_error(11600), Unavailable),
        (server_error(189), Unavailable),
        (server_error(10107), Unavailable),
        (server_error(91), Unavailable),
        (server_error(64), Unavailable),
        (server_error(50), Unavailable),
        (server_error(13), InternalError),
        (pymongo.errors.DuplicateKeyError("x", 11000), InternalError),
        (bson.errors.InvalidDocument("x"), BadRequestData),
        (OverflowError("x"), BadRequestData),
    ],
    ids=repr,
)
def test_what_went_wrong_decides_what_the_client_hears(error: Exception, kind: type[NgsiLdError]) -> None:
    assert type(translate(error)) is kind


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        (16755, "Can't extract keys: { _id: 1, a: [ [ 0, 52 ], [ 0, 50 ] ] Edges 0 and 2 cross. Edges …", "cross."),
        (16756, "Unable to generate keys for geometry: { _id: 1, a: [ [ 0, 52 ] ] } }", "for geometry."),
        (2, "Regular expression is invalid: missing )", "missing )."),
    ],
)
def test_a_refusal_of_a_value_gives_the_reason_without_repeating_the_document(
    code: int, text: str, reason: str
) -> None:
    error = translate(server_error(code, text))
    assert isinstance(error, BadRequestData)
    assert error.detail.endswith(reason)
    assert "_id" not in error.detail


@pytest.mark.parametrize("label", ["RetryableWriteError", "TransientTransactionError"])
def test_what_the_driver_would_try_again_is_unavailable(label: str) -> None:
    error = pymongo.errors.OperationFailure("x", 112)
    error._add_error_label(label)
    assert isinstance(translate(error), Unavailable)


def test_other_errors_pass_as_they_are() -> None:
    for error in (BadRequestData("x"), ValueError("x")):
        with pytest.raises(type(error)) as caught, storage_errors():
            raise error
        assert caught.value is error


async def test_a_replica_set_is_accepted_and_its_databases_are_at_hand(mongo: Mongo, database_name: str) -> None:
    await mongo.ping()
    assert mongo.control.name == database_name
    assert mongo.database("other").name == "other"
    await mongo.control["things"].insert_one({"_id": 1})
    assert await mongo.control["things"].find_one({"_id": 1}) == {"_id": 1}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("driver", DRIVERS)
async def test_where_nobody_answers_the_storage_is_unavailable(driver: str) -> None:
    if driver == "motor":
        pytest.importorskip("motor")
    uri = f"mongodb://127.0.0.1:{free_port()}/?directConnection=true"
    with pytest.raises(Unavailable) as caught:
        await Mongo.connect(uri, driver_name=driver, timeout=0.2)
    assert caught.value.headers == {"Retry-After": "1"}
    # PyMongo leaves the socket of an attempt under way to the garbage collector: let it warn here, not in another test.
    del caught
    gc.collect()


class _Answers:
    """A client whose server gives these answers to the questions of a start."""

    def __init__(self, version: str, **hello: Any) -> None:
        self._answers = {"hello": hello, "buildInfo": {"version": version}}
        self.admin = self

    async def command(self, name: str) -> dict[str, Any]:
        return self._answers[name]


@pytest.mark.parametrize(
    ("server", "text"),
    [
        (_Answers("6.0.5"), "--replSet rs0"),
        (_Answers("4.4.29", setName="rs0"), "too old"),
        (_Answers("3.6.0"), "too old"),
    ],
)
async def test_a_server_that_cannot_keep_the_promises_is_refused_with_the_fix(server: Any, text: str) -> None:
    with pytest.raises(UnusableStorage, match=text):
        await Mongo(server, "vela")._check()


@pytest.mark.parametrize("server", [_Answers("5.0.0", setName="rs0"), _Answers("10.1.2", msg="isdbgrid")])
async def test_replica_sets_and_sharded_clusters_are_accepted(server: Any) -> None:
    await Mongo(server, "vela")._check()


async def test_the_history_that_mongodb_keeps_is_known(mongo: Mongo) -> None:
    assert await mongo.history_window() == 0, "the private MongoDB keeps none"
    window = "minSnapshotHistoryWindowInSeconds"
    await mongo.client.admin.command({"setParameter": 1, window: 300})
    try:
        assert await mongo.history_window() == 300
    finally:
        await mongo.client.admin.command({"setParameter": 1, window: 0})


async def test_a_server_that_does_not_tell_its_history_is_taken_as_it_is() -> None:
    class Silent(_Answers):
        async def command(self, name: object) -> dict[str, Any]:
            raise OperationFailure("not authorized on admin to execute command", 13)

    assert await Mongo(Silent("6.0.5"), "vela").history_window() == 0
