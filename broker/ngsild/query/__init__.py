"""The query languages of NGSI-LD: texts become syntax trees, and syntax trees become predicates over stored entities.

What lives here: q (`grammar`, `tree`, `predicate`, with `patterns` and `temporals` for two kinds of its values),
geo-queries (`geo`, `spherical`), type selections (`types`) and scope queries (`scopes`). What may not: MongoDB.
`broker.storage.filters` translates the same trees; tests hold the two translations equal on random data.
"""
