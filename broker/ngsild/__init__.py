"""The language itself: pure functions and data, without I/O.

What lives here: the stored form of entities and its reading, merging and rendering; the query languages; timestamps;
the exception tree. What may not: anything that awaits, opens a socket, or imports another layer of Vela.
"""
