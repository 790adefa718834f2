import ipaddress
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.setting import Setting, SettingsError
from broker.settings import SETTINGS, Settings, unknown_variables

FILE_NAMES = st.text("abc/._-", min_size=1)
WORDS = st.text("abcdefghij.-:/", min_size=1).filter(lambda word: word != "none")


def values_of(setting: Setting) -> st.SearchStrategy[object]:
    lowest = setting.lowest if setting.lowest is not None else 0
    highest = setting.highest if setting.highest is not None else 10**12
    if setting.name == "mongo_uri":
        return st.none() | WORDS.map(lambda word: "mongodb://" + word)
    if setting.name == "public_url":
        return st.none() | WORDS.map(lambda word: "https://" + word)
    if setting.name == "source_alias":
        return st.none() | st.text("aZ09.-_", min_size=1, max_size=100)
    strategy: st.SearchStrategy[object] = {
        "integer": st.integers(int(lowest), int(highest)),
        "bytes": st.integers(int(lowest), int(highest)),
        "seconds": st.floats(lowest, highest),
        "choice": st.sampled_from(setting.choices or ("",)),
        "path": FILE_NAMES.map(Path),
        "switch": st.booleans(),
        "list": st.lists(WORDS).map(tuple),
        "hosts": st.lists(st.ip_addresses().map(str) | st.just("sensors.local")).map(tuple),
        "networks": st.lists(st.ip_addresses().map(str)).map(tuple),
        "text": WORDS,
    }[setting.kind]
    return strategy | st.none() if setting.default is None else strategy


def test_the_defaults_are_valid_and_need_no_environment():
    settings = Settings.load({})

    assert settings == Settings()
    assert (settings.host, settings.port, settings.mongo_uri, settings.data_dir) == ("0.0.0.0", 1026, None, Path("var"))


def test_every_field_is_a_row_of_the_table_with_help():
    assert [field.name for field in fields(Settings)] == [setting.name for setting in SETTINGS]
    assert all(setting.help.endswith(".") and setting.section for setting in SETTINGS)


def test_the_names_of_variable_and_flag_follow_from_the_name():
    setting = next(setting for setting in SETTINGS if setting.name == "mongo_uri")

    assert (setting.variable, setting.flag) == ("VELA_MONGO_URI", "--mongo-uri")


def test_a_flag_beats_the_environment_and_the_environment_beats_the_default():
    environment = {"VELA_PORT": "2000", "VELA_WORKERS": "3"}

    settings = Settings.load(environment, {"port": "3000", "host": None})

    assert (settings.port, settings.workers, settings.host) == (3000, 3, "0.0.0.0")


def test_an_empty_variable_counts_as_not_given():
    assert Settings.load({"VELA_PORT": "", "VELA_MONGO_URI": " "}) == Settings()


def test_an_empty_flag_takes_an_optional_setting_back():
    settings = Settings.load({"VELA_MONGO_URI": "mongodb://db/"}, {"mongo_uri": ""})

    assert settings.mongo_uri is None


@pytest.mark.parametrize(("text", "value"), [("true", True), ("On", True), ("1", True), ("no", False), ("off", False)])
def test_a_switch_is_given_in_a_word(text, value):
    assert Settings.load({"VELA_VALIDATION_ZONELESS": text}).validation_zoneless is value


def test_a_word_that_is_no_position_of_a_switch_is_refused():
    with pytest.raises(SettingsError, match="VELA_VALIDATION_ZONELESS is 'maybe'; expected true or false"):
        Settings.load({"VELA_VALIDATION_ZONELESS": "maybe"})


@pytest.mark.parametrize(
    ("text", "size"), [("1048576", 2**20), ("1MiB", 2**20), ("1.5 mib", 3 * 2**19), ("2kb", 2000), ("0", 0), ("0b", 0)]
)
def test_sizes_are_given_in_bytes_or_with_a_unit(text, size):
    assert Settings.load({"VELA_CACHE_BYTES": text}).cache_bytes == size


def test_networks_are_separated_by_commas_and_none_is_the_empty_list():
    assert Settings.load({"VELA_OUTBOUND_DENY": "10.0.0.0/8, ::1"}).outbound_deny == ("10.0.0.0/8", "::1")
    assert Settings.load({"VELA_OUTBOUND_DENY": "none"}).outbound_deny == ()


def test_link_local_and_metadata_addresses_are_denied_by_default():
    denied = [ipaddress.ip_network(network) for network in Settings().outbound_deny]

    assert any(ipaddress.ip_address("169.254.169.254") in network for network in denied)


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("VELA_PORT", "http", "a whole number, from 0 to 65,535"),
        ("VELA_PORT", "70000", "a whole number, from 0 to 65,535"),
        ("VELA_WORKERS", "0", "a whole number, from 1 to 256"),
        ("VELA_DRAIN_TIMEOUT", "nan", "a number of seconds, 0 or more"),
        ("VELA_DRAIN_TIMEOUT", "inf", "a number of seconds, 0 or more"),
        ("VELA_MAX_BODY_BYTES", "16 apples", "16MiB"),
        ("VELA_LOG_LEVEL", "loud", "one of debug, info, warning, error"),
        ("VELA_OUTBOUND_DENY", "intranet", "10.0.0.0/8"),
        ("VELA_OUTBOUND_ALLOW", "http://intranet/", "host names"),
    ],
)
def test_a_value_of_no_use_is_refused_with_what_was_found_and_what_is_expected(variable, text, expected):
    with pytest.raises(SettingsError) as refusal:
        Settings.load({variable: text})

    assert f"{variable} is {text!r}" in str(refusal.value)
    assert expected in str(refusal.value)


def test_a_flag_of_no_use_is_named_as_the_flag():
    with pytest.raises(SettingsError, match="--port is 'x'"):
        Settings.load({}, {"port": "x"})


def test_the_port_that_kubernetes_sets_is_explained():
    with pytest.raises(SettingsError, match="enableServiceLinks"):
        Settings.load({"VELA_PORT": "tcp://10.0.0.7:1026"})


def test_a_value_out_of_bounds_is_refused_in_code_too():
    with pytest.raises(SettingsError, match="workers is '0'"):
        Settings(workers=0)


def test_the_default_page_is_no_larger_than_the_largest():
    with pytest.raises(SettingsError, match="query_limit_default is 50; expected at most query_limit_max, which is 10"):
        Settings(query_limit_default=50, query_limit_max=10)


def test_the_database_uri_must_be_one_and_its_password_is_not_shown():
    with pytest.raises(SettingsError) as refusal:
        Settings(mongo_uri="postgresql://user:secret@db/x")

    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("alias", ["a~b", "a b", "é", "x" * 101, "a:b", "a%20"])
def test_an_alias_that_could_not_stand_in_front_of_a_tenant_is_refused(alias):
    with pytest.raises(SettingsError, match="source_alias is"):
        Settings(source_alias=alias)


def test_the_public_url_must_be_one():
    with pytest.raises(SettingsError, match=r"public_url is 'broker\.example\.org'"):
        Settings(public_url="broker.example.org")


def test_a_variable_that_is_no_setting_is_named_with_the_one_that_was_meant():
    sentences = unknown_variables({"VELA_PROT": "1", "VELA_PORT": "1026", "HOME": "/", "VELA_TEST_MONGO_URI": "x"})

    assert sentences == ["VELA_PROT is no setting and has no effect; did you mean VELA_PORT?"]


@given(st.fixed_dictionaries({setting.name: values_of(setting) for setting in SETTINGS}))
def test_settings_survive_their_way_through_the_environment_of_a_worker(values):
    values["env_file"] = None  # what it says is in the environment of a worker already
    values["query_limit_default"] = min(values["query_limit_default"], values["query_limit_max"])
    settings = Settings(**values)

    assert Settings.load(settings.environment()) == settings
