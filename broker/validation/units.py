"""Units of measurement and times of observation: what data models say about an attribute beside its value.

Two keywords of our own stand in the schema of an attribute:

    "x-vela-units": ["CEL", "FAH"]      codes of UN/CEFACT (recommendation 20), one of which a unitCode has to be
    "x-vela-observed-at": true          the attribute is expected to tell when it was observed (observedAt)

The official Smart Data Models name units in descriptions only: "Units:'Celsius degrees'", "(UN code 'MTR')". Those
that are understood beyond doubt hold as x-vela-units does.
"""

import re
from typing import Any, NamedTuple

from broker.validation.definitions import DataModelError

UNITS = "x-vela-units"
OBSERVED = "x-vela-observed-at"


class Units(NamedTuple):
    """The codes that an attribute may have as unitCode, and the place FILE#POINTER that says so."""

    codes: frozenset[str]
    place: str


def read_units(value: Any, where: str) -> frozenset[str]:
    """The codes of the keyword x-vela-units; DataModelError where it is malformed."""
    if not isinstance(value, list) or not value or not all(isinstance(code, str) and code for code in value):
        raise DataModelError(f"{where} is no list of unit codes: expected one or more texts such as CEL.")
    return frozenset(value)


def read_observed(value: Any, where: str) -> bool:
    """Whether the keyword x-vela-observed-at asks for a time; DataModelError where it is malformed."""
    if not isinstance(value, bool):
        raise DataModelError(f"{where} is neither true nor false.")
    return value


_CODE = re.compile(r"\bUN[ /]?(?:CEFACT )?[Cc]ode:?\s*'?([A-Z0-9]{2,3})\b")
_TEXT = re.compile(r"\bUnits?\s*:\s*'([^']+)'", re.IGNORECASE)
_ASIDE = re.compile(r"\s*\(([^()]*)\)")


def described_units(description: str) -> frozenset[str]:
    """The codes of the unit that a description names; none where it names none, or one that is not known here."""
    coded = _CODE.search(description)
    if coded is not None:
        return frozenset({coded[1]})
    named = _TEXT.search(description)
    if named is None:
        return frozenset()
    text = named[1].strip(" .").casefold()
    words = _ASIDE.sub("", text).strip()
    aside = _ASIDE.search(text)
    codes = _codes(words)
    if aside is not None and (meant := _codes(aside[1].strip())):
        return meant if not codes or codes == meant else frozenset()
    return codes


def _codes(words: str) -> frozenset[str]:
    words = re.sub(r"^degrees? (celsius|kelvin|fahrenheit)$", r"\1", re.sub(r"\s+", " ", words))
    words = re.sub(r"^(celsius|kelvin|fahrenheit) degrees?$", r"\1", words)
    return _BY_NAME.get(words, frozenset())


_NAMES = {
    "MMT": "mm, millimeter, millimeters, millimetre, millimetres",
    "CMT": "cm, centimeter, centimeters, centimetre, centimetres",
    "MTR": "m, mtr, meter, meters, metre, metres",
    "KMT": "km, kmt, kilometer, kilometers, kilometre, kilometres",
    "MTK": "m2, m², square meter, square meters, square metre, square metres",
    "MTQ": "m3, m³, cubic meter, cubic meters, cubic metre, cubic metres",
    "MLT": "ml, milliliter, milliliters, millilitre, millilitres",
    "LTR": "l, ltr, liter, liters, litre, litres",
    "MGM": "mg, milligram, milligrams",
    "GRM": "g, gram, grams",
    "KGM": "kg, kgm, kilogram, kilograms",
    "TNE": "tne, tonne, tonnes",
    "C26": "ms, millisecond, milliseconds",
    "SEC": "s, sec, second, seconds",
    "MIN": "min, minute, minutes",
    "HUR": "h, hur, hour, hours",
    "DAY": "day, days",
    "KMH": "km/h, kmh, kph, kilometer per hour, kilometers per hour, kilometre per hour, kilometres per hour",
    "MTS": "m/s, mts, meter per second, meters per second, metre per second, metres per second",
    "CEL": "°c, cel, celsius",
    "KEL": "k, kel, kelvin",
    "FAH": "°f, fah, fahrenheit",
    "DD": "degree angle, degrees angle",
    "P1": "%, percent, percentage",
    "NX": "parts per thousand, per mille, ‰",
    "59": "ppm, parts per million",
    "61": "ppb, parts per billion",
    "PAL": "pa, pascal, pascals",
    "A97": "hpa, hecto pascal, hecto pascals, hectopascal, hectopascals",
    "KPA": "kpa, kilopascal, kilopascals",
    "BAR": "bar, bars",
    "MBR": "mbar, millibar, millibars",
    "2Z": "mv, millivolt, millivolts",
    "VLT": "v, volt, volts",
    "KVT": "kv, kilovolt, kilovolts",
    "4K": "ma, milliampere, milliamperes",
    "AMP": "a, amp, amps, amper, ampers, ampere, amperes",
    "WTT": "w, watt, watts",
    "KWT": "kw, kilowatt, kilowatts",
    "MAW": "megawatt, megawatts",
    "WHR": "wh, watt hour, watt hours",
    "KWH": "kwh, kilowatt hour, kilowatt hours, kilowatts hour, kilowatts per hour",
    "MWH": "mwh, megawatt hour, megawatt hours",
    "D46": "va, volt ampere, volt amperes",
    "KVA": "kva, kilovolt ampere, kilovolt amperes",
    "KVR": "kvar, kilovolts-ampere-reactive, kilovar, kilovars",
    "K3": "kvarh, kilovar hour, kilovar hours, kilovolts-ampere-reactive per hour",
    "HTZ": "hz, hertz",
    "JOU": "j, joule, joules",
    "LUX": "lx, lux",
    "LUM": "lm, lumen, lumens",
    "CDL": "cd, candela, candelas",
    "2N": "db, decibel, decibels",
    "D54": "w/m2, w/m², watt per square meter, watts per square meter, watt per square metre",
    "M1": "mg/l, mg per liter, mg per litre, milligram per liter, milligrams per liter, milligram per litre",
    "GQ": "µg/m3, μg/m3, ug/m3, µg/m³, μg/m³, microgram per cubic meter, micrograms per cubic meter",
    "GP": "mg/m3, mg/m³, milligram per cubic meter, milligrams per cubic meter",
}
"""How people write the units, in lower case, by their UN/CEFACT code."""

_BY_NAME = {name: frozenset({code}) for code, names in _NAMES.items() for name in names.split(", ")}
