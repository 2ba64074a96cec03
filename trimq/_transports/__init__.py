"""The transports that come with trimq: one scheme, one file, one class that implements a contract of ``_abc``.

Nothing is registered here: the context holds its transports as values.
"""
