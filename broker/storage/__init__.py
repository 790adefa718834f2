"""What is kept: one module per collection. MongoDB is spoken here and nowhere else.

What lives here: the client, the stores, the translation of queries into MongoDB filters, the embedded server. What may
not: rules of NGSI-LD (they are in `ngsild`), decisions about when to write (they are in `commit`).
"""
