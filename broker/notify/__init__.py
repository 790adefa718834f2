"""Subscriptions at work: which changes they hear of, what they are told, and how it reaches them.

What lives here: matching changes against subscriptions, rendering notifications, the queues of the endpoints, retries,
counting, and the takeover of what dead processes still owe. What may not: reading a client's subscription document
(that is `core`), MongoDB (that is `storage`).

The way of a notification: `Notifier.match` finds what a change owes; the committer stores it in the outbox together
with the change; `Notifier.release` hands it to the queue of its endpoint; after its delivery it leaves the outbox.
"""
