import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from broker.exposition import Merger, snapshot
from broker.telemetry import MOST_ENDPOINTS, MOST_VIOLATIONS, Metrics, configure_logging, redact


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def exposed(metrics: Metrics) -> str:
    return Merger().text([snapshot(metrics.registry)]).decode()


def logged(format_: str, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    configure_logging(level, format_, stream)
    return stream


def test_an_event_is_one_line_of_json():
    stream = logged("json")

    structlog.get_logger("vela.test").info("worker\nready", port=1026)

    event = json.loads(stream.getvalue())
    assert stream.getvalue().count("\n") == 1
    assert (event["event"], event["port"], event["level"], event["logger"]) == (
        "worker\nready", 1026, "info", "vela.test",
    )  # fmt: skip
    assert event["timestamp"].endswith("Z")


def test_an_exception_is_part_of_its_line_of_json():
    stream = logged("json")

    try:
        raise LookupError("no bay left")
    except LookupError:
        structlog.get_logger("vela.test").exception("failed")

    assert stream.getvalue().count("\n") == 1
    assert "no bay left" in json.loads(stream.getvalue())["exception"]


def test_what_libraries_log_has_the_same_form():
    stream = logged("json")

    logging.getLogger("some.library").warning("slow by %d ms", 7)

    event = json.loads(stream.getvalue())
    assert (event["event"], event["logger"], event["level"]) == ("slow by 7 ms", "some.library", "warning")


def test_events_below_the_level_are_left_out():
    stream = logged("json", "warning")

    structlog.get_logger("vela.test").info("chatter")

    assert stream.getvalue() == ""


def test_a_terminal_gets_text_unless_told_otherwise():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    configure_logging("info", None, terminal)
    structlog.get_logger("vela.terminal").info("ready")

    assert "ready" in terminal.getvalue()
    with pytest.raises(ValueError, match=r"Expecting value|Extra data"):
        json.loads(terminal.getvalue())


@pytest.mark.parametrize("format_", ["json", "console"])
def test_credentials_of_a_url_are_never_logged(format_):
    stream = logged(format_)

    structlog.get_logger("vela.test").info("connecting", uri="mongodb://ada:s3cret@db1,db2/?replicaSet=rs0")

    assert "s3cret" not in stream.getvalue()
    assert "mongodb://***@db1,db2/?replicaSet=rs0" in stream.getvalue()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mongodb://ada:p%40ss@db/x", "mongodb://***@db/x"),
        ("see https://token@host/a@b", "see https://***@host/a@b"),
        ("http://host/path?mail=a@b.c", "http://host/path?mail=a@b.c"),
        ("mongodb://ada:p@ss@db/x", "mongodb://***@db/x"),
        ("nobody@example.org", "nobody@example.org"),
    ],
)
def test_only_credentials_are_masked(text, masked):
    assert redact(text) == masked


def test_notifications_are_counted_by_endpoint_and_those_past_the_most_together():
    metrics = Metrics()
    for number in range(MOST_ENDPOINTS + 2):
        metrics.endpoints.row(f"host{number}:80").sent += 1
    metrics.endpoints.waiting = lambda: [("host1:80", 3, 0.0), ("late:80", 4, 0.0), ("later:80", 5, 0.0)]

    text = exposed(metrics)

    assert 'vela_endpoint_notifications_sent_total{endpoint="host1:80"} 1.0' in text
    assert 'vela_endpoint_notifications_sent_total{endpoint="other"} 2.0' in text
    assert 'vela_endpoint_backlog{endpoint="host1:80"} 3.0' in text
    assert 'vela_endpoint_backlog{endpoint="other"} 9.0' in text
    assert text.count("vela_endpoint_notifications_failed_total{") == MOST_ENDPOINTS + 1


def test_each_app_has_metrics_of_its_own():
    one, other = Metrics(), Metrics()

    one.mutations.inc(3)

    assert "vela_mutations_total 3.0" in exposed(one)
    assert "vela_mutations_total 0.0" in exposed(other)


def test_requests_are_counted_by_method_route_and_status():
    metrics = Metrics()

    metrics.requests.row("GET", "/ngsi-ld/v1/entities").observe(200, 0.003)

    line = 'vela_requests_total{method="GET",route="/ngsi-ld/v1/entities",status="200"} 1.0'
    assert line in exposed(metrics)


def test_violations_are_counted_by_type_attribute_rule_and_policy_up_to_a_bound():
    metrics = Metrics()
    for number in range(MOST_VIOLATIONS + 3):
        metrics.schema_violations.count("Road", f"a{number}", "unevaluatedProperties", "warn")
    metrics.schema_violations.count("Road", "a0", "unevaluatedProperties", "warn")

    exposition = exposed(metrics)

    total = "vela_schema_violations_total"
    known = 'attribute="a0",policy="warn",rule="unevaluatedProperties",type="Road"'
    assert f"{total}{{{known}}} 2.0" in exposition
    assert f'{total}{{attribute="",policy="warn",rule="",type="other"}} 3.0' in exposition
    assert exposition.count(f"{total}{{") == MOST_VIOLATIONS + 1
