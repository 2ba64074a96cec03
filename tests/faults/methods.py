"""Every public method of a context, a socket of each type and an endpoint, as a call to be refused from outside the run.

The table is complete, or `every_use` says what it lacks.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import trimq
from trimq._options import Option
from trimq._sockets import ALL_TYPES

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "bind": ("inproc://elsewhere",),
    "connect": ("inproc://elsewhere",),
    "unbind": ("inproc://here",),
    "disconnect": ("inproc://there",),
    "send": ([b"to", b"body"],),
    "send_nowait": ([b"to", b"body"],),
    "send_many": ([[b"to", b"body"]],),
    "request": (b"question",),
    "disconnect_peer": (trimq.PeerInfo("PUSH"),),
    "subscribe": (b"topic",),
    "unsubscribe": (b"topic",),
    "join": (b"group",),
    "leave": (b"group",),
}
MESSAGES: dict[type[trimq.Socket], Any] = {
    **dict.fromkeys([trimq.Pub, trimq.XPub, trimq.Push, trimq.Pair], b"body"),
    **dict.fromkeys([trimq.Client, trimq.Scatter, trimq.Channel], b"body"),
    **dict.fromkeys([trimq.Server, trimq.Peer], trimq.RoutedMessage(1, b"body")),
    trimq.Dgram: [b"127.0.0.1:5555", b"body"],
    trimq.Radio: trimq.GroupMessage(b"group", b"body"),
}
"""What they send, where not any list will do."""
NEEDS_NO_RUN = {
    "__aiter__",  # gives the socket itself
    "__aenter__",  # the same; what follows in the block is refused
    "option_names",
}


def every_use(context: trimq.Context) -> dict[str, Callable[[], Any]]:
    """By name. An async method's call gives its coroutine, unstarted. Sockets are made here, two endpoints each."""
    uses: dict[str, Callable[[], Any]] = {
        "Context.socket": lambda: context.socket(trimq.Pull),
        "Context.shutdown": context.shutdown,
        "Context.statistics": context.statistics,
    }
    listed = {name.partition(".")[2] for name in uses}
    assert listed == {name for name in vars(trimq.Context) if not name.startswith("_")}, "Context has more"
    for kind in ALL_TYPES:
        socket: Any = context.socket(kind)
        if kind not in (trimq.Stream, trimq.Dgram):
            endpoint = socket.bind(f"inproc://{kind.__name__}")
            uses[f"{kind.__name__} endpoint.close"] = endpoint.close
            uses[f"{kind.__name__} endpoint.ready"] = endpoint.ready
        for name, value in inspect.getmembers(kind):
            public = not name.startswith("_") or name == "__anext__"
            if not public or name in NEEDS_NO_RUN or isinstance(value, (property, Option)) or not callable(value):
                continue
            method = getattr(socket, name)
            required = [
                parameter
                for parameter in inspect.signature(method).parameters.values()
                if parameter.default is parameter.empty and parameter.kind in (0, 1)
            ]
            arguments = ARGUMENTS.get(name, ())
            assert len(arguments) >= len(required), f"{kind.__name__}.{name} is new: say what it is called with"
            if name in ("send", "send_nowait", "send_many") and kind in MESSAGES:
                arguments = (MESSAGES[kind],) if name != "send_many" else ([MESSAGES[kind]],)
            uses[f"{kind.__name__}.{name}"] = lambda method=method, arguments=arguments: method(*arguments)
        for name in ("send_hwm", "linger"):
            uses[f"{kind.__name__}.{name} ="] = lambda socket=socket, name=name: setattr(socket, name, 5)
    pull = context.socket(trimq.Pull)
    uses["wait_any"] = lambda: trimq.wait_any(pull)
    return uses


def refused(use: Callable[[], Any]) -> str:
    """What is wrong with how a use was refused; empty if it was refused as promised, at once."""
    try:
        value = use()
        if inspect.iscoroutine(value):
            try:
                value.send(None)
            except StopIteration:
                return "it returned"
            finally:
                value.close()
            return "it waits"
    except trimq.NoIOThread as error:
        return "" if "fork" in str(error) else f"it does not say what to do: {error}"
    except BaseException as error:  # noqa: BLE001 - anything else is what is looked for
        return f"it raised {error!r}"
    return f"it gave {value!r}"
