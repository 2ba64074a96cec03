"""The tables of the docs that say which test holds what: they are complete, and what they name is there."""

from __future__ import annotations

import ast
import csv
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DOCS = HERE.parent.parent / "docs"


# docs/reference/rfcs.rst

# How often SHALL and MUST stand in each section of an RFC; of 23 only where it differs from 37.
CLAUSES = {
    "28": {"REQ": 8, "REP": 11, "DEALER": 14, "ROUTER": 14},
    "29": {"PUB": 14, "XPUB": 15, "SUB": 11, "XSUB": 16},
    "30": {"PUSH": 13, "PULL": 10},
    "31": {"PAIR": 13},
    "37": {
        "Version Negotiation": 10,
        "Topology": 1,
        "Authentication and Confidentiality": 5,
        "Error Handling": 2,
        "Framing": 2,
        "Messages": 1,
        "The NULL Security Mechanism": 9,
        "Connection Metadata": 3,
        "The Socket-Type Property": 1,
        "The Identity Property": 2,
        "The Resource Property": 3,
        "Socket Semantics": 6,
        "The Publish-Subscribe Pattern": 7,
        "The Radio-Dish Pattern": 3,
        "Thread-Safe Socket Types": 5,
        "Connection Heartbeating": 2,
        "Detecting ZMTP 1.0 and 2.0 Peers": 2,
        "Wire Analysis of the Connection": 5,
        "Security Considerations": 1,
    },
    "23": {"Version Negotiation": 1, "The NULL Security Mechanism": 2, "The Publish-Subscribe Pattern": 3},
}


def rfc_rows(number: str) -> list[list[str]]:
    """The rows of one RFC's table, without its head: clause, what it asks, what becomes of it, test."""
    text = (DOCS / "reference/rfcs.rst").read_text(encoding="utf-8")
    table = re.search(rf"^{number}/[^\n]*\n-+\n(.*?)(?=^\d\d/|\Z)", text, re.MULTILINE | re.DOTALL)
    assert table is not None
    cells = re.findall(r"^   [* ] - (.*)$", table[1], re.MULTILINE)
    assert len(cells) % 4 == 0
    return [cells[start : start + 4] for start in range(4, len(cells), 4)]


def rfc_tests(number: str) -> dict[str, str]:
    """The tests of one RFC, with what they say of themselves."""
    tree = ast.parse((HERE / f"test_rfc{number}.py").read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return {node.name: ast.get_docstring(node) or "" for node in functions if node.name.startswith("test_")}


@pytest.mark.parametrize("number", CLAUSES)
def test_each_clause_of_the_rfcs_has_a_row(number: str) -> None:
    """docs/reference/rfcs.rst: one for each SHALL and MUST, in the RFC's order, numbered by section."""
    expected = [f"{section} {n}" for section, count in CLAUSES[number].items() for n in range(1, count + 1)]
    assert [row[0] for row in rfc_rows(number)] == expected


@pytest.mark.parametrize("number", CLAUSES)
def test_each_clause_of_the_rfcs_has_a_test(number: str) -> None:
    """Each row names a test that is there, or says why there is none; and there are no tests beside.

    Where a row tells of a deviation or a difference, so does its test.
    """
    tests = rfc_tests(number)
    named = set()
    for clause, asks, here, test in rfc_rows(number):
        assert asks, clause
        verdict = re.match(r"kept|deviation: |different: |waits for |does not apply: ", here)
        assert verdict is not None, (clause, here)
        if verdict[0] in ("waits for ", "does not apply: "):
            assert test == "(none)", clause
            continue
        match = re.fullmatch(rf"``(test_{number}_\w+)``", test)
        assert match is not None, (clause, test)
        named.add(match[1])
        assert match[1] in tests, (clause, test)
        if verdict[0] == "deviation: ":
            assert "deviation (" in tests[match[1]], (clause, test)
        elif verdict[0] == "different: ":
            assert "Different on purpose: " in tests[match[1]], (clause, test)
            assert ":doc:`/explanation/differences`" in here, clause
    assert named == set(tests)


# docs/reference/conformance.rst

# libzmq's programs, each without the ``test_`` that it begins with: libzmq.md 7 describes them.
PROGRAMS = {
    "a-to-p": """
        abstract_ipc address_tipc ancillaries app_meta atomics base85 bind_after_connect_tcp bind_curve_fuzzer bind_fuzzer
        bind_null_fuzzer bind_src_address bind_stream_fuzzer bind_ws_fuzzer busy_poll capabilities channel client_server
        conflate connect_curve_fuzzer connect_delay_tipc connect_fuzzer connect_null_fuzzer connect_resolve connect_rid
        connect_stream_fuzzer connect_ws_fuzzer ctx_destroy ctx_options dgram diffserv disconnect_inproc disconnect_msg
        filter_ipc fork getsockopt_memset heartbeats hello_msg hiccup_msg hwm hwm_pubsub immediate inproc_connect
        invalid_rep iov ipc_wildcard issue_566 last_endpoint many_sockets metadata mock_pub_sub monitor msg_ffn msg_flags
        msg_init pair_inproc pair_ipc pair_tcp pair_tcp_cap_net_admin pair_tipc pair_vmci pair_vsock peer peer_disconnect
        poller probe_router proxy proxy_hwm proxy_single_socket proxy_steerable proxy_terminate pub_invert_matching pubsub
        pubsub_topics_count
    """.split(),
    "q-to-z": """
        radio_dish rebind_ipc reconnect_ivl reconnect_options req_correlate req_relaxed reqrep_device
        reqrep_device_tipc reqrep_inproc reqrep_ipc reqrep_tcp reqrep_tipc reqrep_vmci reqrep_vsock router_handover
        router_mandatory router_mandatory_hwm router_mandatory_tipc router_notify scatter_gather security_curve
        security_gssapi security_no_zap_handler security_null security_plain security_zap setsockopt shutdown_stress
        shutdown_stress_tipc socket_null socket_options_fuzzer sockopt_hwm socks sodium spec_dealer spec_pushpull
        spec_rep spec_req spec_router srcfd stream stream_disconnect stream_empty stream_exceeds_buffer
        stream_timeout sub_forward sub_forward_tipc system tcp_accept_filter term_endpoint term_endpoint_tipc
        thread_safe timeo timers unbind_wildcard use_fd ws_transport wss_transport xpub_manual
        xpub_manual_last_value xpub_nodrop xpub_topic xpub_verbose xpub_welcome_msg xsub_verbose z85_decode_fuzzer
        zmq_poll_fd zmq_ppoll_fd zmq_ppoll_signals
    """.split(),
    "units": """
        unittest_curve_encoding unittest_ip_resolver unittest_mtrie unittest_poller unittest_radix_tree unittest_udp_address
        unittest_ypipe
    """.split(),
}


def test_there_are_142_programs() -> None:
    """docs/reference/conformance.rst says so; the unit tests come beside."""
    assert len(PROGRAMS["a-to-p"]) + len(PROGRAMS["q-to-z"]) == 142


def called(program: str) -> str:
    """The whole name of a program or a unit test."""
    return program if program.startswith("unittest_") else f"test_{program}"


@pytest.mark.parametrize("part", PROGRAMS)
def test_each_program_of_libzmq_has_a_row(part: str) -> None:
    """docs/reference/conformance.rst: one for each, in order, which names tests that are there or says why there are none.

    A test of this folder that it names bears the program's name.
    """
    with (DOCS / f"reference/conformance-{part}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == [f"``{called(program)}``" for program in PROGRAMS[part]]
    for program, shows, here, held_by in rows:
        assert shows, program
        assert re.match(r"held$|held; \w|different: \w|waits for \w|no meaning: \w", here), (program, here)
        if here.startswith(("waits for", "no meaning")):
            assert held_by == "(none)", program
            continue
        named = re.findall(r"``tests/([\w/]+\.py)::(test_\w+)``", held_by)
        assert named, program
        assert held_by == ", ".join(f"``tests/{path}::{name}``" for path, name in named), program
        for path, name in named:
            tree = ast.parse((HERE.parent / path).read_text(encoding="utf-8"))
            assert name in {getattr(node, "name", "") for node in tree.body}, (path, name)
            assert not path.startswith("conformance/") or name.startswith(program.strip("`")), (program, name)
