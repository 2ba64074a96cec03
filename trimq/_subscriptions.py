"""Subscriptions: prefix matching, on the publisher's and on the subscriber's side (RFC 29).

`TopicTable` is the publisher's: which peers get a message that begins so. `TopicCounter` is the
subscriber's own list. The cost of a match does not grow with the number of topics, and with the length of the
longest only as its logarithm.
"""

from __future__ import annotations

from collections.abc import Iterator

from ._remote import Remote

__all__ = ["TopicCounter", "TopicTable"]


class _Prefixes:
    """Narrows a search for the topics that a text begins with to the prefixes of one short text.

    A topic's length is a sum of powers of two. Adding them up from the largest, the topic leaves a mark at each
    partial sum: one of 11 bytes is marked at 8, 10 and 11. A search does the same with the text: it goes forward
    by a power of two whenever there is a mark. It cannot stop short of a topic that the text begins with, for
    where it first went less far than that topic's length, the topic's mark would have taken it on; but it may follow another
    topic's mark beyond it. So all the topics sought are prefixes of what the search went through.
    """

    __slots__ = ("_marks", "_steps")

    def __init__(self) -> None:
        self._marks: dict[bytes, int] = {}  # how many topics have left it
        self._steps: tuple[int, ...] = ()  # powers of two, the largest first

    def _marks_of(self, topic: bytes) -> Iterator[bytes]:
        at = 0
        for step in self._steps:
            if len(topic) & step:
                at += step
                yield topic[:at]

    def add(self, topic: bytes) -> None:
        """A new topic."""
        bits = len(topic).bit_length()
        if bits > len(self._steps):
            self._steps = tuple(1 << bit for bit in reversed(range(bits)))
        marks = self._marks
        for mark in self._marks_of(topic):
            marks[mark] = marks.get(mark, 0) + 1

    def remove(self, topic: bytes) -> None:
        """A topic that was added."""
        marks = self._marks
        for mark in self._marks_of(topic):
            if marks[mark] == 1:
                del marks[mark]
            else:
                marks[mark] -= 1

    def narrow(self, text: bytes) -> bytes:
        """A prefix of the text; all topics that the text begins with are prefixes of that."""
        marks = self._marks
        size = len(text)
        at = 0
        found = b""
        for step in self._steps:
            if at + step <= size:
                probe = text[: at + step]
                if probe in marks:
                    at += step
                    found = probe
        return found


class TopicTable:
    """Which peers subscribed to which prefixes. A peer counts once per topic, however often it subscribes."""

    __slots__ = ("_by_topic", "_found", "_prefixes")

    def __init__(self) -> None:
        self._by_topic: dict[bytes, dict[Remote, None]] = {}
        self._prefixes = _Prefixes()
        self._found: dict[bytes, dict[Remote, None]] = {}  # who gets a text that was narrowed to this

    def add(self, topic: bytes, remote: Remote) -> bool:
        """The peer subscribes; true if it is the topic's first."""
        remote.topics.add(topic)
        self._found.clear()
        subscribers = self._by_topic.get(topic)
        if subscribers is not None:
            subscribers[remote] = None
            return False
        self._by_topic[topic] = {remote: None}
        self._prefixes.add(topic)
        return True

    def remove(self, topic: bytes, remote: Remote) -> bool:
        """The peer unsubscribes; true if nobody is left who has the topic (nor had it before)."""
        remote.topics.discard(topic)
        self._found.clear()
        subscribers = self._by_topic.get(topic)
        if subscribers is None:
            return True
        subscribers.pop(remote, None)
        if subscribers:
            return False
        del self._by_topic[topic]
        self._prefixes.remove(topic)
        return True

    def match(self, topic: bytes) -> dict[Remote, None]:
        """The peers that get a message whose first frame is ``topic``, each once. Not to be changed."""
        prefix = self._prefixes.narrow(topic)
        found = self._found.get(prefix)
        if found is None:
            found = self._found[prefix] = self._search(prefix)
        return found

    def _search(self, prefix: bytes) -> dict[Remote, None]:
        by_topic = self._by_topic
        topics = [by_topic[part] for end in range(len(prefix) + 1) if (part := prefix[:end]) in by_topic]
        return topics[0] if len(topics) == 1 else {remote: None for topic in topics for remote in topic}


class TopicCounter:
    """A subscriber's own prefixes, each as often as it was subscribed to."""

    __slots__ = ("_counts", "_found", "_prefixes")

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}
        self._prefixes = _Prefixes()
        self._found: dict[bytes, bool] = {}  # whether a text that was narrowed to this is wanted

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._counts)

    def add(self, topic: bytes) -> bool:
        """Subscribes; true if the topic is new."""
        count = self._counts.get(topic, 0)
        self._counts[topic] = count + 1
        if count:
            return False
        self._found.clear()
        self._prefixes.add(topic)
        return True

    def remove(self, topic: bytes) -> bool:
        """Unsubscribes; true if that was the last subscription to the topic (false if there was none)."""
        count = self._counts.get(topic, 0)
        if count > 1:
            self._counts[topic] = count - 1
        if count != 1:
            return False
        del self._counts[topic]
        self._found.clear()
        self._prefixes.remove(topic)
        return True

    def wants(self, item: bytes | list[bytes]) -> bool:
        """Whether a message is subscribed to, by its first frame."""
        prefix = self._prefixes.narrow(item if isinstance(item, bytes) else item[0])
        wanted = self._found.get(prefix)
        if wanted is None:
            counts = self._counts
            wanted = self._found[prefix] = any(prefix[:end] in counts for end in range(len(prefix) + 1))
        return wanted
