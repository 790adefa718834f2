"""Commands of `vela` that talk to a running broker over HTTP, as any client does.

What lives here: one module a group of commands; a group with much to do has several. What may not: anything of the
broker's inside, but for `vela datamodels`, which reads models and entities where it runs: with the same code
(`broker/validation`, `broker/jsonld`, `broker/ngsild`) as the broker.
"""
