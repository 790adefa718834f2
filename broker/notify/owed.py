"""What a subscription is owed for one change: a finished notification, ready to be stored and sent."""

from broker.storage.outbox import Owed, Parcel, made_at, parcel_of

__all__ = ["OF_NO_COMMIT", "Owed", "Parcel", "made_at", "parcel_of"]

OF_NO_COMMIT = 0
"""The commit of a notification that no change owes; commits are numbered from 1 on."""
