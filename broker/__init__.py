"""Vela, an NGSI-LD context broker on MongoDB. The layers, and what may import what: docs/architecture.md."""

__version__ = "0.1.0.dev0"
