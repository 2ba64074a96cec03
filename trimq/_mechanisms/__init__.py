"""Security mechanisms (RFC 23, 37): each a frozen value that makes one sans-I/O handshake per connection.

They deal in command bodies; greetings and frames are the wire's business. No trio, no clock.
"""
