"""JSON-LD @contexts: finding, downloading, combining and caching them; expanding names to IRIs and back.

What lives here: everything that turns the value of an "@context" into a `Context`, and the `Context` itself. PyLD is
imported in `processing.py` and nowhere else. What may not: the NGSI-LD information model (entities, attributes), HTTP
requests to Vela, and MongoDB (downloaded @contexts are kept through the `Store` protocol of `documents.py`).

    core.py         the core @context that comes with Vela, and the URLs by which it is known
    processing.py   @context objects → term definitions, by PyLD
    context.py      Context: term definitions → look-ups
    combining.py    the value of an "@context" → the @context objects that it stands for, remote ones loaded
    documents.py    @contexts with a URL: the broker's own, folder, database, download, freshness
    identifiers.py  local identifiers of stored @contexts, and the URLs at which the broker serves them
    usage.py        how often each is used
    folder.py       VELA_CONTEXTS_DIR
    freshness.py    how long a downloaded @context may be used
    contexts.py     Contexts: the one entrance of the other layers, with the cache
"""
