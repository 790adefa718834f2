"""Data models: loading and compiling schemas, checking entities against them, counting and explaining violations.

Here lives everything that knows JSON Schema. Nothing here reads requests, writes to storage or decides about a commit:
the committer hands over a change, and gets it back accepted or refused.
"""
