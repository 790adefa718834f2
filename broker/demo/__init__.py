"""The demo: a recorded day of car parks, replayed to an NGSI-LD broker over HTTP.

It is a client like any other: nothing here imports the broker, and nothing of the broker imports it.
"""

from broker.demo.main import run

__all__ = ["run"]
