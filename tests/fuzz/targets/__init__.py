"""What is fuzzed: each module has ``target(data)``, which returns or fails, and ``seeds()``, inputs to begin with.

handshake: Connection.handshake_untrusted, from the first byte, in any reads
traffic: Connection.decode_untrusted after a handshake, in any reads, with runs
commands: the parsers of command bodies
endpoints: endpoints as a user (or a file) may give them
pgm: PGM's receiver and source, packets of anybody
topics: a publisher's table and a subscriber's own list, under any history
dissect: what the recorder of trimq.testing shows of a connection
"""

NAMES = ("commands", "dissect", "endpoints", "handshake", "pgm", "topics", "traffic")
