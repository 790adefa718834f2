"""Importing data models: from a folder, archive, checkout or URL to definitions that need nothing beside themselves.

`sources` brings a flat tree of files, `reading` makes definitions of it, `linting` says what is doubtful in it. All of
that is done where the command runs, long before an entity is checked. Nothing here writes files, talks to a broker, or
repairs what a schema means: what cannot be used is put in quarantine with the reason.
"""
