"""The benchmark suite: what a broker does per second, beside what the machine would allow at best.

Scenarios and contests are data (`scenarios.py`, `contests.py`), brokers are URLs (`targets.py`), and the load comes
from processes of its own (`load_generator.py`, `raw_updates.py`) that report how much CPU they took themselves. What
counts are ratios within one run, because a machine's speed drifts. Nothing here is part of the broker, and the broker
imports nothing of it.
"""
