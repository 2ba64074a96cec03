"""libzmq's options: what each is called here, or why there is none and what takes its place.

Nothing is decided here: whoever gives one of these names to ``ctx.socket`` or ``open_context`` is told where to look,
and the docs' table of options is checked against it.
"""

from __future__ import annotations

from difflib import get_close_matches

__all__ = ["CONTEXT", "NO_SOCKET", "OLD_NAMES", "SOCKET", "advice"]

SOCKET: dict[str, str] = {
    "ROUTING_ID": "routing_id",
    "SNDBUF": "send_buffer",
    "RCVBUF": "receive_buffer",
    "LINGER": "linger",
    "RECONNECT_IVL": "reconnect_interval",
    "RECONNECT_IVL_MAX": "reconnect_interval_max",
    "RECONNECT_STOP": "reconnect_stop",
    "BACKLOG": "backlog",
    "MAXMSGSIZE": "max_message_size",
    "SNDHWM": "send_hwm",
    "RCVHWM": "receive_hwm",
    "ROUTER_MANDATORY": "mandatory",
    "ROUTER_HANDOVER": "handover",
    "TCP_KEEPALIVE": "tcp_keepalive",
    "TCP_KEEPALIVE_CNT": "tcp_keepalive_count",
    "TCP_KEEPALIVE_IDLE": "tcp_keepalive_idle",
    "TCP_KEEPALIVE_INTVL": "tcp_keepalive_interval",
    "TCP_MAXRT": "tcp_user_timeout",
    "TCP_ACCEPT_FILTER": "tcp_accept_filter",
    "IPC_FILTER_PID": "ipc_filter_pid",
    "IPC_FILTER_UID": "ipc_filter_uid",
    "IPC_FILTER_GID": "ipc_filter_gid",
    "IMMEDIATE": "immediate",
    "IPV6": "ipv6",
    "TOS": "tos",
    "PRIORITY": "priority",
    "BUSY_POLL": "busy_poll",
    "BINDTODEVICE": "bind_to_device",
    "PROBE_ROUTER": "probe_router",
    "REQ_CORRELATE": "correlate",
    "REQ_RELAXED": "relaxed",
    "CONFLATE": "conflate",
    "HANDSHAKE_IVL": "handshake_timeout",
    "CONNECT_TIMEOUT": "connect_timeout",
    "HEARTBEAT_IVL": "heartbeat_interval",
    "HEARTBEAT_TTL": "heartbeat_ttl",
    "HEARTBEAT_TIMEOUT": "heartbeat_timeout",
    "METADATA": "metadata",
    "XPUB_VERBOSE": "verbose",
    "XPUB_VERBOSER": "verboser",
    "XPUB_MANUAL": "manual",
    "XPUB_MANUAL_LAST_VALUE": "manual_last_value",
    "XPUB_NODROP": "nodrop",
    "XPUB_WELCOME_MSG": "welcome_message",
    "XSUB_VERBOSE_UNSUBSCRIBE": "verbose_unsubscribe",
    "ONLY_FIRST_SUBSCRIBE": "only_first_subscribe",
    "INVERT_MATCHING": "invert_matching",
    "STREAM_NOTIFY": "notify",
    "ROUTER_NOTIFY": "notify_peers",
    "HELLO_MSG": "hello_message",
    "DISCONNECT_MSG": "disconnect_message",
    "HICCUP_MSG": "hiccup_message",
    "VMCI_BUFFER_SIZE": "vmci_buffer_size",
    "VMCI_BUFFER_MIN_SIZE": "vmci_buffer_min_size",
    "VMCI_BUFFER_MAX_SIZE": "vmci_buffer_max_size",
    "VMCI_CONNECT_TIMEOUT": "vmci_connect_timeout",
    "MULTICAST_HOPS": "multicast_hops",
    "MULTICAST_LOOP": "multicast_loop",
    "RATE": "rate",
    "RECOVERY_IVL": "recovery_interval",
    "MULTICAST_MAXTPDU": "multicast_maxtpdu",
}
"""ZMQ_ names of socket options, and the option here."""

_SECURITY = "this trimq has no security mechanism but NULL yet"
_THREADS = "trimq has no threads of its own: it runs in the trio run that opened the context"
_NORM = "it belongs to norm, a transport that trimq does not have; there is nothing in its place"
_WSS = "it belongs to wss, which this trimq does not have yet"
_SOCKS = "trimq does not connect through SOCKS proxies yet"

NO_SOCKET: dict[str, str] = {
    "AFFINITY": _THREADS,
    "SUBSCRIBE": "it is a method: sub.subscribe(topic)",
    "UNSUBSCRIBE": "it is a method: sub.unsubscribe(topic)",
    "CONNECT_ROUTING_ID": "it is an argument: router.connect(endpoint, routing_id=...)",
    "USE_FD": "it is an argument: socket.bind(endpoint, use_fd=...)",
    "RCVMORE": "messages come whole, as a list of frames",
    "FD": "there is no descriptor to poll: await receive() or wait_receivable(), or trimq.wait_any(...) for several sockets",
    "EVENTS": "await wait_receivable() or wait_sendable(), or call receive_nowait() and send_nowait()",
    "TYPE": "it is an attribute: socket.socket_type",
    "LAST_ENDPOINT": "bind and connect return an Endpoint, and str(endpoint) is the address; socket.endpoints has all",
    "THREAD_SAFE": "sockets are used in their trio run; from a thread, trio.from_thread.run(socket.send, ...)",
    "TOPICS_COUNT": "socket.statistics().topics",
    "MECHANISM": "a peer's is in PeerInfo.mechanism",
    "RCVTIMEO": "use a cancel scope: with trio.move_on_after(seconds): await socket.receive()",
    "SNDTIMEO": "use a cancel scope: with trio.move_on_after(seconds): await socket.send(message)",
    "IPV4ONLY": "it is ipv6, the other way round",
    "ROUTER_RAW": "use a Stream socket",
    "IN_BATCH_SIZE": "how much is read at once follows the traffic",
    "OUT_BATCH_SIZE": "how much is written at once follows the traffic",
    "LOOPBACK_FASTPATH": "Windows has it no more",
    "ZAP_DOMAIN": _SECURITY,
    "ZAP_ENFORCE_DOMAIN": _SECURITY,
    **dict.fromkeys(["PLAIN_SERVER", "PLAIN_USERNAME", "PLAIN_PASSWORD"], _SECURITY),
    **dict.fromkeys(["CURVE_SERVER", "CURVE_PUBLICKEY", "CURVE_SECRETKEY", "CURVE_SERVERKEY"], _SECURITY),
    **dict.fromkeys(["GSSAPI_SERVER", "GSSAPI_PRINCIPAL", "GSSAPI_SERVICE_PRINCIPAL", "GSSAPI_PLAINTEXT"], _SECURITY),
    **dict.fromkeys(["GSSAPI_PRINCIPAL_NAMETYPE", "GSSAPI_SERVICE_PRINCIPAL_NAMETYPE"], _SECURITY),
    **dict.fromkeys(["SOCKS_PROXY", "SOCKS_USERNAME", "SOCKS_PASSWORD"], _SOCKS),
    **dict.fromkeys(["WSS_KEY_PEM", "WSS_CERT_PEM", "WSS_TRUST_PEM", "WSS_HOSTNAME", "WSS_TRUST_SYSTEM"], _WSS),
    **dict.fromkeys(["NORM_MODE", "NORM_UNICAST_NACK", "NORM_BUFFER_SIZE", "NORM_SEGMENT_SIZE"], _NORM),
    **dict.fromkeys(["NORM_BLOCK_SIZE", "NORM_NUM_PARITY", "NORM_NUM_AUTOPARITY", "NORM_PUSH"], _NORM),
}
"""ZMQ_ names of socket options that are none here, and why, and what to use."""

CONTEXT: dict[str, str] = {
    "IO_THREADS": _THREADS,
    "THREAD_PRIORITY": _THREADS,
    "THREAD_SCHED_POLICY": _THREADS,
    "THREAD_AFFINITY_CPU_ADD": _THREADS,
    "THREAD_AFFINITY_CPU_REMOVE": _THREADS,
    "THREAD_NAME_PREFIX": _THREADS,
    "MAX_SOCKETS": "there is no limit but the system's descriptors",
    "SOCKET_LIMIT": "there is no limit but the system's descriptors",
    "MAX_MSGSZ": "it has no effect in libzmq either; max_message_size limits what peers may send",
    "MSG_T_SIZE": "there is no zmq_msg_t",
    "ZERO_COPY_RECV": "large frames are never copied when they are received in one piece",
    "BLOCKY": "it is open_context(linger=0)",
}
"""ZMQ_ names of context options that are none here, and why. (IPV6 is an option of sockets, and of contexts for theirs.)"""

OLD_NAMES = {
    "IDENTITY": "ROUTING_ID",
    "ROUTER_BEHAVIOR": "ROUTER_MANDATORY",
    "FAIL_UNROUTABLE": "ROUTER_MANDATORY",
    "DELAY_ATTACH_ON_CONNECT": "IMMEDIATE",
    "CONNECT_RID": "CONNECT_ROUTING_ID",
    "HWM": "SNDHWM",
}


def advice(name: str, known: list[str]) -> str:
    """What to tell somebody who gave an option that there is not, where there are these."""
    zmq = name.upper().removeprefix("ZMQ_")
    zmq = OLD_NAMES.get(zmq, zmq)
    if zmq in SOCKET:
        return f"libzmq's ZMQ_{zmq} is called {SOCKET[zmq]} in trimq" + (
            "" if SOCKET[zmq] in known else ", and is not for this type"
        )
    refusal = NO_SOCKET.get(zmq) or CONTEXT.get(zmq)
    if refusal is not None:
        return f"ZMQ_{zmq} is no option in trimq: {refusal}"
    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
