"""Subscriptions: prefix matching, on the publisher's and on the subscriber's side (RFC 29).

`TopicTable` is the publisher's: which peers get a message that begins so. `TopicCounter` is the
subscriber's own list. The cost of a match hardly grows with the number of topics, and not with their lengths.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ._remote import Remote

__all__ = ["TopicCounter", "TopicTable"]

_FEW = 16  # topics that are better looked at one by one


class _Search:
    """Finds the longest topic that a text begins with: in a sorted list, by bisection.

    Of all topics up to the text in the alphabet the last one is that topic, or else begins with it. So it is the last
    one, or the longest topic that the last one begins with and the text does, too. Topics that are gone do no harm; they
    are taken out now and then.

    Args:
      topics: those that there are; its owner says when it has changed.
    """

    __slots__ = ("_gone", "_new", "_parents", "_roots", "_sorted", "_topics")

    def __init__(self, topics: Mapping[bytes, object]) -> None:
        self._topics = topics
        self._sorted: list[bytes] = []
        self._new: list[bytes] = []
        self._gone = 0
        self._parents: dict[bytes, bytes | None] = {}  # the longest topic that one begins with, itself aside
        self._roots: dict[bytes, bytes] = {}

    def added(self, topic: bytes) -> None:
        """The topic is new."""
        self._new.append(topic)
        self._parents.clear()
        self._roots.clear()

    def removed(self) -> None:
        """A topic is gone."""
        self._gone += 1
        if 2 * self._gone > len(self._sorted) + len(self._new):
            self._sort()

    def longest(self, text: bytes) -> bytes | None:
        """The longest topic, there or gone, that the text begins with; None if there is none."""
        if self._new:
            self._settle()
        found = self._sorted
        place = bisect_right(found, text)
        if not place:
            return None
        topic: bytes | None = found[place - 1]
        assert topic is not None
        if not text.startswith(topic) and not text.startswith(self._root(topic)):
            return None
        while topic is not None and not text.startswith(topic):
            topic = self.parent(topic)
        return topic

    def _root(self, topic: bytes) -> bytes:
        """The shortest topic that this one begins with."""
        root = self._roots.get(topic)
        if root is None:
            root = topic
            while (parent := self.parent(root)) is not None:
                root = parent
            self._roots[topic] = root
        return root

    def parent(self, topic: bytes) -> bytes | None:
        """The longest topic that this one begins with, itself aside."""
        try:
            return self._parents[topic]
        except KeyError:
            # It is no longer than what the topic has in common with the one before it, for that begins with it, too.
            place = bisect_left(self._sorted, topic)
            before = self._sorted[place - 1] if place else b""
            pairs = enumerate(zip(before, topic, strict=False))
            common = next((at for at, (one, other) in pairs if one != other), min(len(before), len(topic) - 1))
            shorter = (topic[:size] for size in range(common, -1, -1))
            parent = self._parents[topic] = next((part for part in shorter if part in self._topics), None)
            return parent

    def _settle(self) -> None:
        if len(self._new) > _FEW:
            self._sort()
        for topic in self._new:
            insort(self._sorted, topic)
        self._new.clear()

    def _sort(self) -> None:
        self._sorted = sorted(self._topics)
        self._parents.clear()
        self._roots.clear()
        self._new.clear()
        self._gone = 0


class TopicTable:
    """Which peers subscribed to which prefixes. A peer counts once per topic, however often it subscribes."""

    __slots__ = ("_by_topic", "_found", "_search")

    def __init__(self) -> None:
        self._by_topic: dict[bytes, dict[Remote, None]] = {}
        self._search = _Search(self._by_topic)
        self._found: dict[bytes | None, dict[Remote, None]] = {}  # by the longest topic: who gets the text

    def add(self, topic: bytes, remote: Remote) -> bool:
        """The peer subscribes; true if it is the topic's first."""
        remote.topics.add(topic)
        self._found.clear()
        subscribers = self._by_topic.get(topic)
        if subscribers is not None:
            subscribers[remote] = None
            return False
        self._by_topic[topic] = {remote: None}
        self._search.added(topic)
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
        self._search.removed()
        return True

    def match(self, topic: bytes) -> dict[Remote, None]:
        """The peers that get a message whose first frame is ``topic``, each once. Not to be changed."""
        longest = self._search.longest(topic)
        found = self._found.get(longest)
        if found is None:
            found = self._found[longest] = self._union(longest)
        return found

    def _union(self, longest: bytes | None) -> dict[Remote, None]:
        if longest is None:
            return {}
        # From the topic up to one of which it is known already, and down again.
        chain: list[bytes] = []
        topic: bytes | None = longest
        while topic is not None and topic not in self._found:
            chain.append(topic)
            topic = self._search.parent(topic)
        union = {} if topic is None else self._found[topic]
        for topic in reversed(chain):
            subscribers = self._by_topic.get(topic, {})
            if not union:
                union = subscribers
            elif not subscribers.keys() <= union.keys():
                union = union | subscribers
            self._found[topic] = union
        return union


class TopicCounter:
    """A subscriber's own prefixes, each as often as it was subscribed to."""

    __slots__ = ("_counts", "_few", "_search")

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}
        self._search = _Search(self._counts)
        self._few: tuple[bytes, ...] | None = ()  # all topics, if they are few

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._counts)

    def add(self, topic: bytes) -> bool:
        """Subscribes; true if the topic is new."""
        count = self._counts.get(topic, 0)
        self._counts[topic] = count + 1
        if count:
            return False
        self._search.added(topic)
        self._few = tuple(self._counts) if len(self._counts) <= _FEW else None
        return True

    def remove(self, topic: bytes) -> bool:
        """Unsubscribes; true if that was the last subscription to the topic (false if there was none)."""
        count = self._counts.get(topic, 0)
        if count > 1:
            self._counts[topic] = count - 1
        if count != 1:
            return False
        del self._counts[topic]
        self._search.removed()
        self._few = tuple(self._counts) if len(self._counts) <= _FEW else None
        return True

    def wants(self, item: bytes | list[bytes]) -> bool:
        """Whether a message is subscribed to, by its first frame."""
        text = item if isinstance(item, bytes) else item[0]
        if self._few is not None:
            return text.startswith(self._few)
        topic = self._search.longest(text)
        # One that is gone may begin with one that is not.
        while topic is not None and topic not in self._counts:
            topic = self._search.parent(topic)
        return topic is not None

    def select(self, items: Sequence[Any]) -> Sequence[Any]:
        """Those of the messages that are subscribed to."""
        few = self._few
        if few == (b"",):
            return items
        if few is not None and items and type(items[0]) is bytes:
            with suppress(AttributeError):  # one has several frames
                return [item for item in items if item.startswith(few)]
        return [item for item in items if self.wants(item)]
