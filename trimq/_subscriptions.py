"""Subscriptions: prefix matching, on the publisher's and on the subscriber's side (RFC 29).

`TopicTable` is the publisher's: which peers get a message that begins so. `TopicCounter` is the
subscriber's own list. The cost of a match does not grow with the number of topics, only with the number of
different lengths that topics have.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator

from ._remote import Remote

__all__ = ["TopicCounter", "TopicTable"]


class TopicTable:
    """Which peers subscribed to which prefixes. A peer counts once per topic, however often it subscribes."""

    __slots__ = ("_by_topic", "_lengths", "_of_length")

    def __init__(self) -> None:
        self._by_topic: dict[bytes, dict[Remote, None]] = {}
        self._of_length: dict[int, int] = {}  # how many topics have this length
        self._lengths: list[int] = []

    def add(self, topic: bytes, remote: Remote) -> bool:
        """The peer subscribes; true if it is the topic's first."""
        remote.topics.add(topic)
        subscribers = self._by_topic.get(topic)
        if subscribers is not None:
            subscribers[remote] = None
            return False
        self._by_topic[topic] = {remote: None}
        length = len(topic)
        if length not in self._of_length:
            self._of_length[length] = 0
            insort(self._lengths, length)
        self._of_length[length] += 1
        return True

    def remove(self, topic: bytes, remote: Remote) -> bool:
        """The peer unsubscribes; true if nobody is left who has the topic (nor had it before)."""
        remote.topics.discard(topic)
        subscribers = self._by_topic.get(topic)
        if subscribers is None:
            return True
        subscribers.pop(remote, None)
        if subscribers:
            return False
        del self._by_topic[topic]
        length = len(topic)
        self._of_length[length] -= 1
        if not self._of_length[length]:
            del self._of_length[length]
            self._lengths.remove(length)
        return True

    def match(self, topic: bytes) -> dict[Remote, None]:
        """The peers that get a message whose first frame is ``topic``, each once. Not to be changed."""
        found: dict[Remote, None] | None = None
        joined = False
        size = len(topic)
        by_topic = self._by_topic
        for length in self._lengths:
            if length > size:
                break
            subscribers = by_topic.get(topic[:length])
            if subscribers is None:
                continue
            if found is None:
                found = subscribers
            elif joined:
                found.update(subscribers)
            else:
                found = found | subscribers
                joined = True
        return {} if found is None else found


class TopicCounter:
    """A subscriber's own prefixes, each as often as it was subscribed to."""

    __slots__ = ("_counts", "_lengths", "_of_length")

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}
        self._of_length: dict[int, int] = {}
        self._lengths: tuple[int, ...] = ()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._counts)

    def add(self, topic: bytes) -> bool:
        """Subscribes; true if the topic is new."""
        count = self._counts.get(topic, 0)
        self._counts[topic] = count + 1
        if count:
            return False
        length = len(topic)
        self._of_length[length] = self._of_length.get(length, 0) + 1
        self._lengths = tuple(sorted(self._of_length))
        return True

    def remove(self, topic: bytes) -> bool:
        """Unsubscribes; true if that was the last subscription to the topic (false if there was none)."""
        count = self._counts.get(topic, 0)
        if count > 1:
            self._counts[topic] = count - 1
        if count != 1:
            return False
        del self._counts[topic]
        length = len(topic)
        self._of_length[length] -= 1
        if not self._of_length[length]:
            del self._of_length[length]
        self._lengths = tuple(sorted(self._of_length))
        return True

    def wants(self, item: bytes | list[bytes]) -> bool:
        """Whether a message is subscribed to, by its first frame."""
        topic = item if isinstance(item, bytes) else item[0]
        size = len(topic)
        counts = self._counts
        for length in self._lengths:
            if length > size:
                return False
            if topic[:length] in counts:
                return True
        return False
