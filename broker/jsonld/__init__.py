"""JSON-LD @contexts: finding, downloading, combining and caching them; expanding names to IRIs and back.

What lives here: everything that turns the value of an "@context" into a `Context`, and the `Context` itself. PyLD is
imported in `processing.py` and nowhere else. What may not: the NGSI-LD information model (entities, attributes), HTTP
requests to Vela, and MongoDB (downloaded @contexts are kept through the `Store` protocol of `documents.py`).

    core.py         the core @context that comes with Vela, and the URLs by which it is known
    processing.py   @context objects → term definitions, by PyLD
    context.py      Context: term definitions → look-ups
    combining.py    the value of an "@context" → the @context objects that it stands for, remote ones loaded
    documents.py    remote @contexts: folder, database, download, freshness
    folder.py       VELA_CONTEXTS_DIR
    freshness.py    how long a downloaded @context may be used
    contexts.py     Contexts: the one entrance of the other layers, with the cache
"""
