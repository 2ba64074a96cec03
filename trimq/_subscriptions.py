"""Subscriptions: prefix matching (RFC 29) and groups, on the publisher's and on the subscriber's side.

`TopicTable` is the publisher's: which peers get a message that begins so. `TopicCounter` is the
subscriber's own list. The cost of a match hardly grows with the number of topics, and not with their lengths.
`GroupTable` and `Groups` are the same for groups, which match by their exact names (Radio and Dish).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from ._remote import Remote

__all__ = ["GroupTable", "Groups", "Table", "TopicCounter", "TopicTable"]

_FEW = 16  # topics that are better looked at one by one
_REMEMBERED = 100_000  # searches


class _Search:
    """Finds the longest topic that a text begins with: in a sorted list, by bisection.

    Of all topics up to the text in the alphabet, the last one is that topic, or else begins with it. In the latter case it
    is no longer than what that last one and the text have in common, and the search goes on with so much of the text.
    Topics that are gone do no harm; they are taken out now and then.

    Args:
      topics: those that there are; its owner says when it has changed.
    """

    __slots__ = ("_fallen", "_gone", "_new", "_sorted", "_topics")

    def __init__(self, topics: Mapping[bytes, object]) -> None:
        self._topics = topics
        self._sorted: list[bytes] = []
        self._new: list[bytes] = []
        self._gone = 0
        self._fallen: dict[bytes, bytes | None] = {}  # what was found for the rest of a text that went on

    def added(self, topic: bytes) -> None:
        """The topic is new."""
        self._new.append(topic)
        self._fallen.clear()

    def removed(self) -> None:
        """A topic is gone."""
        self._gone += 1
        if 2 * self._gone > len(self._sorted) + len(self._new):
            self._sort()

    def longest(self, text: bytes) -> bytes | None:
        """The longest topic, there or gone, that the text begins with; None if there is none."""
        if self._new:
            self._settle()
        place = bisect_right(self._sorted, text)
        if not place:
            return None
        topic = self._sorted[place - 1]
        if text.startswith(topic):
            return topic
        rest = text[: _in_common(topic, text)]
        if rest not in self._fallen:
            if len(self._fallen) > _REMEMBERED:
                self._fallen.clear()
            self._fallen[rest] = self._fall(rest)
        return self._fallen[rest]

    def _fall(self, text: bytes) -> bytes | None:
        while place := bisect_right(self._sorted, text):
            topic = self._sorted[place - 1]
            if text.startswith(topic):
                return topic
            text = text[: _in_common(topic, text)]
        return None

    def parent(self, topic: bytes) -> bytes | None:
        """The longest topic that this one begins with, itself aside."""
        return self.longest(topic[:-1]) if topic else None

    def _settle(self) -> None:
        if len(self._new) > _FEW:
            self._sorted += sorted(self._new)
            self._sorted.sort()  # two runs in order: they are merged
        else:
            for topic in self._new:
                insort(self._sorted, topic)
        self._new.clear()

    def _sort(self) -> None:
        self._sorted = sorted(self._topics)
        self._new.clear()
        self._fallen.clear()
        self._gone = 0


def _in_common(one: bytes, other: bytes) -> int:
    """How many bytes two texts begin with alike."""
    least, most = 0, min(len(one), len(other))
    while least < most:
        size = (least + most + 1) // 2
        if one.startswith(other[:size]):
            least = size
        else:
            most = size - 1
    return least


class TopicTable:
    """Which peers subscribed to which prefixes. A peer counts once per topic, however often it subscribes.

    Attributes:
      sole: the topic, where there is one only.
    """

    __slots__ = ("_by_topic", "_found", "_search", "sole")

    def __init__(self) -> None:
        self._by_topic: dict[bytes, dict[Remote, None]] = {}
        self.sole: bytes | None = None
        self._search = _Search(self._by_topic)
        self._found: dict[bytes | None, dict[Remote, None]] = {}  # by the longest topic: who gets the text

    def __contains__(self, topic: bytes) -> bool:
        return topic in self._by_topic

    def __len__(self) -> int:
        return len(self._by_topic)

    def add(self, topic: bytes, remote: Remote) -> bool:
        """The peer subscribes; true if it is the topic's first."""
        remote.topics.add(topic)
        self._found.clear()
        subscribers = self._by_topic.get(topic)
        if subscribers is not None:
            subscribers[remote] = None
            return False
        self._by_topic[topic] = {remote: None}
        self.sole = topic if len(self._by_topic) == 1 else None
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
        self.sole = next(iter(self._by_topic)) if len(self._by_topic) == 1 else None
        self._search.removed()
        return True

    forget = remove

    def match(self, topic: bytes) -> dict[Remote, None]:
        """The peers that get a message whose first frame is ``topic``, each once. Not to be changed."""
        sole = self.sole
        if sole is not None:
            return self._by_topic[sole] if topic.startswith(sole) else {}
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

    def __len__(self) -> int:
        return len(self._counts)

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


class Table(Protocol):
    """Who subscribed to what: a `TopicTable` or a `GroupTable`."""

    def __contains__(self, topic: bytes, /) -> bool: ...
    def __len__(self) -> int: ...
    def add(self, topic: bytes, remote: Remote, /) -> bool: ...
    def remove(self, topic: bytes, remote: Remote, /) -> bool: ...
    def forget(self, topic: bytes, remote: Remote, /) -> bool: ...
    def match(self, topic: bytes, /) -> Mapping[Remote, None]: ...


class GroupTable:
    """Which peers joined which groups, by exact name. Who joins twice has to leave twice, as in libzmq."""

    __slots__ = ("_counts", "_everywhere", "_found")

    def __init__(self) -> None:
        self._counts: dict[bytes, dict[Remote, int]] = {}
        self._everywhere: dict[Remote, None] = {}  # who gets everything: over datagrams nobody says what they joined
        self._found: dict[bytes, dict[Remote, None]] = {}  # by group, for those that somebody joined

    def __contains__(self, group: bytes) -> bool:
        return group in self._counts

    def __len__(self) -> int:
        return len(self._counts)

    def add_everywhere(self, remote: Remote) -> None:
        """The peer gets everything."""
        self._everywhere[remote] = None
        self._found.clear()

    def remove_everywhere(self, remote: Remote) -> None:
        """The peer that got everything is gone."""
        self._everywhere.pop(remote, None)
        self._found.clear()

    def add(self, group: bytes, remote: Remote) -> bool:
        """The peer joins; true if it is the group's first."""
        remote.topics.add(group)
        self._found.pop(group, None)
        members = self._counts.setdefault(group, {})
        members[remote] = members.get(remote, 0) + 1
        return len(members) == 1 and members[remote] == 1

    def remove(self, group: bytes, remote: Remote) -> bool:
        """The peer leaves, once; true if nobody is left in the group."""
        members = self._counts.get(group, {})
        if members.get(remote, 0) > 1:
            members[remote] -= 1
            return False
        return self.forget(group, remote)

    def forget(self, group: bytes, remote: Remote) -> bool:
        """The peer leaves, however often it joined; true if nobody is left in the group."""
        remote.topics.discard(group)
        self._found.pop(group, None)
        members = self._counts.get(group, {})
        members.pop(remote, None)
        if members:
            return False
        self._counts.pop(group, None)
        return True

    def members(self, group: bytes) -> int:
        """How many peers have joined the group."""
        return len(self._counts.get(group, ()))

    def match(self, group: bytes) -> Mapping[Remote, None]:
        """The peers that get a message of this group, each once. Not to be changed."""
        members = self._counts.get(group)
        if members is None:
            return self._everywhere
        found = self._found.get(group)
        if found is None:
            found = self._found[group] = dict.fromkeys([*members, *self._everywhere])
        return found


class Groups:
    """A Dish's own groups, as the filter of what comes in."""

    __slots__ = ("names",)

    def __init__(self) -> None:
        self.names: dict[bytes, None] = {}

    def wants(self, item: list[bytes]) -> bool:
        """Whether a message's group was joined."""
        return item[0] in self.names

    def select(self, items: Sequence[Any]) -> Sequence[Any]:
        """Those of the messages whose groups were joined."""
        names = self.names
        return [item for item in items if item[0] in names]
