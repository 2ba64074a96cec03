"""Sans-I/O: bytes to messages and back, for whoever has a stream.

    _commands     command bodies: names, metadata, READY, ERROR, PING and PONG, SUBSCRIBE and CANCEL
    _frames       frames and messages (RFC 23, 37): the hot path
    _greeting     the first 64 bytes, and which version the peer speaks
    _connection   all of it together: one ZMTP connection
    _pgm_packets  the packets of reliable multicast (RFC 3208)
    _pgm_stream   messages in their contents, and back
    _pgm_source, _pgm_receiver   a sender, and who hears many; _pgm_window is what it knows of one
    _pgm_sessions   both as sessions over a port of datagrams
    _raw          no protocol at all (STREAM)

No trio, no clock, no sockets in here. A function whose name ends in ``_untrusted`` takes a peer's bytes:
it returns what they mean or raises `ProtocolError`, never anything else, and never keeps more memory than
has arrived.
"""
