from typing import Any

import pytest

from broker.core.subscription_documents import merged, read_changes, read_subscription, render_subscription, status
from broker.ngsild.errors import BadRequestData, NgsiLdError

NOW = "2026-01-31T12:00:00.000000Z"
LATER = "2026-02-01T00:00:00Z"
ENDPOINT = {"uri": "http://receiver.example/notify"}


class PlainContext:
    """An @context in which the IRI of a term is "urn:" and the term."""

    def expand(self, term: str) -> str:
        if " " in term:
            raise BadRequestData(f"{term!r} is no name.")
        return term if ":" in term else f"urn:{term}"

    def compact(self, iri: str) -> str:
        return iri.removeprefix("urn:")


CONTEXT = PlainContext()


def body(**members: Any) -> dict[str, Any]:
    return {
        "type": "Subscription",
        "entities": [{"type": "T"}],
        "notification": {"endpoint": ENDPOINT},
        **members,
    }


def notification(**members: Any) -> dict[str, Any]:
    return body(notification={"endpoint": ENDPOINT, **members})


def endpoint(**members: Any) -> dict[str, Any]:
    return body(notification={"endpoint": {**ENDPOINT, **members}})


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


def read(document: Any) -> dict[str, Any]:
    return read_subscription(document, CONTEXT, NOW)[1]


def shown(definition: dict[str, Any], **members: Any) -> dict[str, Any]:
    times = {"createdAt": NOW, "modifiedAt": NOW}
    document = {"_id": {"tenant": "", "id": "urn:s:1"}, **times, "definition": definition, **members}
    return render_subscription(document, CONTEXT, NOW)


def test_everything_that_was_said_is_shown_again() -> None:
    said = {
        **body(
            id="urn:s:1",
            subscriptionName="n",
            description="d",
            entities=[
                {"type": "T"},
                {"id": "urn:e:1", "type": "(A;B)|C"},
                {"id": ["urn:e:1", "urn:e:2"], "type": "*"},
                {"idPattern": "^urn", "type": "T"},
            ],
            watchedAttributes=["a", "b"],
            notificationTrigger=["entityCreated"],
            q="a==1",
            csf="region==1",
            expandValues="a",
            jsonKeys="b",
            geoQ={"georel": "near;maxDistance==1", "geometry": "Point", "coordinates": [1, 2], "geoproperty": "place"},
            scopeQ="/Madrid",
            lang="de",
            datasetId=["urn:d:1", "@none"],
            expiresAt=LATER,
            isActive=False,
            throttling=0.5,
            localOnly=True,
            splitEntities=True,
            ngsildConformance="1.6",
            jsonldContext="http://example.org/context.jsonld",
        ),
        "notification": {
            "pick": ["id", "a{b,c{type}}"],
            "omit": ["b", "a{d}"],
            "format": "concise",
            "sysAttrs": True,
            "showChanges": True,
            "join": "inline",
            "joinLevel": 2,
            "endpoint": {
                **ENDPOINT,
                "accept": "application/ld+json",
                "timeout": 500,
                "cooldown": 1,
                "receiverInfo": [{"key": "Authorization", "value": "Bearer x"}],
                "notifierInfo": [{"key": "MQTT-QoS", "value": "1"}],
            },
        },
    }
    assert shown(read(said)) == {**said, "status": "paused"}


def test_names_are_stored_as_iris() -> None:
    definition = read(body(watchedAttributes=["a", "a"], notification={"endpoint": ENDPOINT, "attributes": ["b"]}))
    assert definition["watchedAttributes"] == ["urn:a"]
    assert definition["notification"]["attributes"] == ["urn:b"]
    assert definition["entities"] == [{"types": [["urn:T"]]}]


def test_read_only_members_are_ignored_and_name_stands_for_subscription_name() -> None:
    definition = read(
        body(
            name="n",
            status="expired",
            createdAt=NOW,
            notification={"endpoint": ENDPOINT, "status": "ok", "timesSent": 7, "lastSuccess": NOW},
        )
    )
    rendered = shown(definition)
    assert rendered["subscriptionName"] == "n"
    assert rendered["status"] == "active"
    assert rendered["notification"] == {"endpoint": ENDPOINT}


def test_the_default_triggers_are_shown() -> None:
    assert shown(read(body()))["notificationTrigger"] == ["attributeCreated", "attributeUpdated"]


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({}, ""),
        ([], ""),
        (None, ""),
        ({"@context": "http://example.org/c"}, ""),
        (without(body(), "type"), "/type"),
        (body(type="Subscribe"), "/type"),
        (body(id="not a uri"), "/id"),
        (without(body(), "entities"), "/entities"),
        (body(entities=[]), "/entities"),
        (body(entities={"type": "T"}), "/entities"),
        (body(entities=[{}]), "/entities/0"),
        (body(entities=[{"type": "T"}, {"type": "T", "id": "x"}]), "/entities/1/id"),
        (body(entities=[{"type": "T", "id": []}]), "/entities/0/id"),
        (body(entities=[{"type": "T", "id": [1]}]), "/entities/0/id/0"),
        (body(entities=[{"type": 1}]), "/entities/0/type"),
        (body(entities=[{"type": "a b"}]), "/entities/0/type"),
        (body(entities=[{"typ": "T"}]), "/entities/0"),
        (body(watchedAttributes=[]), "/watchedAttributes"),
        (body(watchedAttributes="a"), "/watchedAttributes"),
        (body(watchedAttributes=["a", "b c"]), "/watchedAttributes/1"),
        (body(notificationTrigger=["entityMoved"]), "/notificationTrigger/0"),
        (body(q=""), "/q"),
        (body(q=None), "/q"),
        (body(geoQ={"georel": "within"}), "/geoQ"),
        (body(geoQ={"georel": "within", "geometry": "Point", "coordinates": 1}), "/geoQ/coordinates"),
        (body(geoQ={"georel": "within", "geometry": "Point", "coordinates": [], "x": 1}), "/geoQ/x"),
        (body(datasetId=["x"]), "/datasetId/0"),
        (body(expiresAt="tomorrow"), "/expiresAt"),
        (body(expiresAt="2020-01-01T00:00:00Z"), "/expiresAt"),
        (body(isActive="yes"), "/isActive"),
        (body(throttling=0), "/throttling"),
        (body(throttling=-1), "/throttling"),
        (body(throttling=True), "/throttling"),
        (body(timeInterval=0), "/timeInterval"),
        (body(timeInterval=1, throttling=1), "/throttling"),
        (body(timeInterval=1, watchedAttributes=["a"]), "/watchedAttributes"),
        (body(jsonldContext="unknownContext"), "/jsonldContext"),
        (body(**{"a/b~c": 1}), "/a~1b~0c"),
        (body(name="a", subscriptionName="b"), "/subscriptionName"),
        (without(body(), "notification"), "/notification"),
        (body(notification=[]), "/notification"),
        (body(notification={}), "/notification/endpoint"),
        (body(notification={"endpoint": None}), "/notification/endpoint"),
        (body(notification={"endpoint": {}}), "/notification/endpoint/uri"),
        (notification(attributes=[]), "/notification/attributes"),
        (notification(attributes=["type"]), "/notification/attributes/0"),
        (notification(pick=[]), "/notification/pick"),
        (notification(omit=[]), "/notification/omit"),
        (notification(pick=["id"], omit=["id"]), "/notification/omit"),
        (notification(pick=["a"], attributes=["a"]), "/notification/attributes"),
        (notification(omit=["a"], attributes=["a"]), "/notification/attributes"),
        (notification(format="xml"), "/notification/format"),
        (notification(format=["concise"]), "/notification/format"),
        (notification(sysAttrs=1), "/notification/sysAttrs"),
        (notification(showChanges=True, format="simplified"), "/notification/showChanges"),
        (notification(showChanges=True, format="keyValues"), "/notification/showChanges"),
        (notification(join="sideways"), "/notification/join"),
        (notification(joinLevel=0), "/notification/joinLevel"),
        (notification(colour="red"), "/notification/colour"),
        (endpoint(uri="nowhere"), "/notification/endpoint/uri"),
        (endpoint(uri="ftp://receiver.example"), "/notification/endpoint/uri"),
        (endpoint(uri=1), "/notification/endpoint/uri"),
        (endpoint(accept="text/html"), "/notification/endpoint/accept"),
        (endpoint(timeout=0), "/notification/endpoint/timeout"),
        (endpoint(cooldown="1"), "/notification/endpoint/cooldown"),
        (endpoint(receiverInfo={}), "/notification/endpoint/receiverInfo"),
        (endpoint(receiverInfo=[{"key": "k"}]), "/notification/endpoint/receiverInfo/0"),
        (endpoint(receiverInfo=[{"key": "k", "value": 42}]), "/notification/endpoint/receiverInfo/0"),
        (endpoint(receiverInfo=[{"key": 5, "value": "v"}]), "/notification/endpoint/receiverInfo/0"),
        (endpoint(receiverInfo=[{"key": "a b", "value": "v"}]), "/notification/endpoint/receiverInfo/0/key"),
        (endpoint(receiverInfo=[{"key": "Host", "value": "v"}]), "/notification/endpoint/receiverInfo/0/key"),
        (endpoint(receiverInfo=[{"key": "k", "value": "a\r\nb"}]), "/notification/endpoint/receiverInfo/0/value"),
        (endpoint(notifierInfo=[{"key": "K", "value": {}}]), "/notification/endpoint/notifierInfo/0"),
        (endpoint(colour="red"), "/notification/endpoint/colour"),
        (body(csf="(("), "/csf"),
        (body(temporalQ={"timerel": "before"}), "/temporalQ"),
        (body(ngsildConformance="latest"), "/ngsildConformance"),
        (body(expandValues="a,,b"), "/expandValues"),
        (body(jsonKeys=","), "/jsonKeys"),
        (body(splitEntities="yes"), "/splitEntities"),
        (notification(pick=["a{b}"]), "/notification/pick/0"),
        (notification(pick=["id", "a{b{c}}"], join="flat"), "/notification/pick/1"),
        (notification(omit=["a{"], join="flat"), "/notification/omit/0"),
        (notification(pick=["a{b}"], omit=["a"], join="flat"), "/notification/omit"),
        (notification(attributes=["a{b}"], join="flat"), "/notification/attributes/0"),
    ],
)
def test_what_is_wrong_is_named_by_its_pointer(document: Any, pointer: str) -> None:
    with pytest.raises(BadRequestData) as caught:
        read(document)
    assert caught.value.pointer == pointer
    assert caught.value.detail.endswith(".")


@pytest.mark.parametrize(
    "document",
    [
        body(csf="a==1;(b|c>2)"),
        body(timeInterval=0.5),
        body(ngsildConformance="1.3"),
        body(splitEntities=True),
        notification(join="@none"),
        notification(joinLevel=3),
        notification(join="flat", pick=["id", "a{b|c}"]),
        notification(showChanges=True, format="normalized"),
        notification(showChanges=False, format="simplified"),
        endpoint(accept="application/geo+json"),
    ],
)
def test_what_the_clauses_allow_is_kept_and_shown(document: dict[str, Any]) -> None:
    rendered = shown(read(document))
    if "pick" in document["notification"]:
        document["notification"]["pick"] = ["id", "a{b,c}"]
    assert rendered == {**rendered, **document}


def test_a_projection_into_linked_entities_is_stored_by_iri() -> None:
    definition = read(notification(join="flat", joinLevel=2, pick=["a{id,b{c}}", "a{d}", "type"]))
    b = {"name": "urn:b", "members": ["urn:c"]}
    assert definition["notification"]["pick"] == [{"name": "urn:a", "members": ["id", b, "urn:d"]}, "type"]


@pytest.mark.parametrize("name", ["throttling", "watchedAttributes"])
def test_what_excludes_a_time_interval_is_refused_even_if_it_comes_later(name: str) -> None:
    other = {"throttling": 5, "watchedAttributes": ["a"]}
    with pytest.raises(BadRequestData) as caught:
        merged(read(body(timeInterval=5)), read_changes({name: other[name]}, CONTEXT, NOW), NOW)
    assert caught.value.pointer == f"/{name}"
    swapped = merged(
        read(body(**{name: other[name]})), read_changes({name: None, "timeInterval": 5}, CONTEXT, NOW), NOW
    )
    assert swapped["timeInterval"] == 5
    assert name not in swapped


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"expiresAt": LATER}, "active"),
        ({"expiresAt": LATER, "isActive": True}, "active"),
        ({"expiresAt": LATER, "isActive": False}, "paused"),
        ({"isActive": True}, "expired"),
        ({"isActive": False}, "expired"),
        ({"expiresAt": None}, "paused"),
    ],
)
def test_an_expired_subscription_comes_to_life_by_a_time_to_come(changes: dict[str, Any], expected: str) -> None:
    expired = {**read(body(isActive=False)), "expiresAt": NOW}
    assert status(merged(expired, read_changes(changes, CONTEXT, NOW), NOW), NOW) == expected


def test_a_paused_subscription_stays_paused_when_its_expiry_is_put_off() -> None:
    paused = {**read(body(isActive=False)), "expiresAt": LATER}
    assert (
        status(merged(paused, read_changes({"expiresAt": "2027-01-01T00:00:00Z"}, CONTEXT, NOW), NOW), NOW) == "paused"
    )


def test_an_update_replaces_members_as_a_whole_and_null_deletes() -> None:
    definition = read(body(q="a==1", description="d", isActive=False))
    changes = read_changes(
        {
            "q": None,
            "description": "urn:ngsi-ld:null",
            "isActive": True,
            "watchedAttributes": ["a"],
            "notification": {"endpoint": {"uri": "http://other.example"}},
        },
        CONTEXT,
        NOW,
    )
    result = merged(definition, changes, NOW)
    assert not result.keys() & {"q", "description"}
    assert result["isActive"] is True
    assert result["watchedAttributes"] == ["urn:a"]
    assert result["notification"] == {"endpoint": {"uri": "http://other.example"}}
    assert result["entities"] == definition["entities"]


def test_deleting_the_triggers_brings_back_the_default() -> None:
    definition = read(body(notificationTrigger=["entityDeleted"]))
    changes = read_changes({"notificationTrigger": None}, CONTEXT, NOW)
    assert merged(definition, changes, NOW)["notificationTrigger"] == ["attributeCreated", "attributeUpdated"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({}, ""),
        ({"notification": None}, "/notification"),
        ({"notification": {"format": "keyValues"}}, "/notification/endpoint"),
        ({"notification": {"format": "keyValues", "endpoint": None}}, "/notification/endpoint"),
        ({"entities": None}, "/entities"),
        ({"expiresAt": "2020-08-01T22:07:00Z"}, "/expiresAt"),
        ({"colour": None}, "/colour"),
        ({"type": None}, "/type"),
    ],
)
def test_an_update_that_leaves_no_subscription_is_refused(changes: Any, pointer: str) -> None:
    with pytest.raises(NgsiLdError) as caught:
        merged(read(body()), read_changes(changes, CONTEXT, NOW), NOW)
    assert caught.value.status == 400
    assert caught.value.pointer == pointer


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ({}, "active"),
        ({"isActive": True, "expiresAt": LATER}, "active"),
        ({"isActive": False}, "paused"),
        ({"isActive": False, "expiresAt": LATER}, "paused"),
        ({"isActive": True, "expiresAt": NOW}, "expired"),
        ({"isActive": False, "expiresAt": "2026-01-31T12:00:00Z"}, "expired"),
    ],
)
def test_the_status_follows_from_expiry_and_activity(definition: dict[str, Any], expected: str) -> None:
    assert status(definition, NOW) == expected


def test_what_was_delivered_is_shown_with_the_notification() -> None:
    delivery = {"timesSent": 3, "timesFailed": 1, "lastNotification": LATER, "lastSuccess": LATER, "lastFailure": NOW}
    assert shown(read(body()), delivery=delivery)["notification"] == {"endpoint": ENDPOINT, "status": "ok", **delivery}
    failing = {"timesSent": 1, "timesFailed": 1, "lastNotification": NOW, "lastFailure": NOW}
    assert shown(read(body()), delivery=failing)["notification"]["status"] == "failed"


def test_counters_of_zero_are_not_shown() -> None:
    delivery = {"timesSent": 1, "timesFailed": 0, "lastNotification": NOW, "lastSuccess": NOW}
    assert "timesFailed" not in shown(read(body()), delivery=delivery)["notification"]
