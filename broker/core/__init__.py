"""The use cases (specification clause 5), independent of HTTP.

What lives here: one class per family of operations; each takes the narrowest interface it needs. What may not: headers,
status codes, MongoDB.
"""
