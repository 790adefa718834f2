"""Commands of `vela` that talk to a running broker over HTTP, as any client does.

What lives here: one module a group of commands. What may not: anything of the broker's inside.
"""
