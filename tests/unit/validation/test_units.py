import pytest

from broker.validation.units import described_units


@pytest.mark.parametrize(
    ("description", "code"),
    [
        ("How warm. Units:'Celsius degrees'", "CEL"),
        ("Units:'degrees Celsius (C)'", "CEL"),
        ("Units:'Kelvin degrees (K)'", "KEL"),
        ("Model:'https://schema.org/Number'. Units:'Kilometer per hour (Km/h)'", "KMH"),
        ("Units:'Kilometer per hour (Km/h).'", "KMH"),
        ("Unit:'Kilogram'", "KGM"),
        ("Units:'meters'. (UN code 'MTR'). ", "MTR"),
        ("The direction. Units:'Degrees'. (UN code DD)", "DD"),
        ("Units: 'km/h'. (UN Code KMH).", "KMH"),
        ("Units:'KMH' ", "KMH"),
        ("Units:'w/m2'", "D54"),
        ("Units:'Kilowatts per hour (kWh)'. Model:'http://schema.org/Number'", "KWH"),
        ("Units:'Hecto pascals'", "A97"),
        ("units:'µg/m3'", "GQ"),
    ],
)
def test_a_unit_that_a_description_names_is_known_by_its_code(description: str, code: str) -> None:
    assert described_units(description) == {code}


@pytest.mark.parametrize(
    "description",
    [
        "How warm it is",
        "The unit code (text) of measurement given using the UN/CEFACT Common Codes",
        "Units:'Douglas sea scale'",
        "Units:'movements'",
        "Units:'Degree'",
        "Units:'KiloVolts-Ampere-Reactive (kVArh)'",
        "Unitless parameter: the measurement",
        "",
    ],
)
def test_a_unit_that_is_unknown_or_in_doubt_is_none(description: str) -> None:
    assert described_units(description) == frozenset()
