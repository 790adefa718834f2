import pytest

from benchmarks.cli import parse


def test_without_options_everything_runs_against_a_vela_of_its_own() -> None:
    options = parse([])
    assert (options.scenario, options.contest, options.target, options.entities) == ([], [], [], 10_000)


def test_targets_are_given_by_name_and_url() -> None:
    first, second = parse(["--target", "a=http://broker.example:1026/", "--target", "b=http://127.0.0.1:9"]).target
    assert (first.name, first.url, first.host, first.port) == (
        "a",
        "http://broker.example:1026",
        "broker.example",
        1026,
    )
    assert second.name == "b"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--target", "http://localhost:1026"],
        ["--target", "a=localhost:1026"],
        ["--target", "a=https://localhost"],
        ["--scenario", "unknown"],
        ["--seconds", "0"],
        ["--connections", "-1"],
        ["--entities", "999"],
        ["--contest", "validation", "--target", "a=http://127.0.0.1:9"],
        ["--contest", "unknown"],
    ],
)
def test_options_that_cannot_be_used_end_with_a_message(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_fewer_entities_than_the_largest_batch_will_do_where_no_batch_runs() -> None:
    assert parse(["--scenario", "get", "--entities", "10"]).entities == 10
    assert parse(["--contest", "hot", "--entities", "10"]).entities == 10
