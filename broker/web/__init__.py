"""The HTTP binding (specification clause 6).

What lives here: the table of routes, one module of handlers per resource, negotiation, parameters, problems. Handlers
parse once into typed values, call one use case of `core`, and render. What may not: rules of NGSI-LD, MongoDB.
"""
