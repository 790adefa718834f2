"""The write path: mutations are gathered into groups and committed together (DESIGN section 4).

What lives here: the committer, what it plans for one group, its cache. What may not: what a mutation does (it is in
`ngsild/mutations.py`), how MongoDB is spoken to (it is in `storage`).
"""
