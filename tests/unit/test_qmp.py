"""The connection to QEMU's monitor: addresses, refusals, Ctrl-C."""

from __future__ import annotations

import gc
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from hostsim.measure.qemu.qmp import QemuError, Qmp, address_of, why_not
from tests.helpers.fake_qmp import Monitor

ACTIVE = {"status": "active"}


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Monitor]]:
    """Serves a monitor at ``qmp`` that gives ACTIVE to each question."""
    opened: list[Monitor] = []

    def open_one(greeting: bytes | None = b"") -> Monitor:
        opened.append(Monitor(tmp_path / "qmp", lambda _name, _given: [{"return": ACTIVE}], greeting))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where a shell has started the tests with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def refusal(path: Path) -> str:
    with pytest.raises(QemuError) as refused:
        Qmp(path, patience_s=0.0, greeting_s=0.2)
    return str(refused.value).partition(f"{path}: ")[2]


def test_no_socket(tmp_path: Path) -> None:
    assert refusal(tmp_path / "qmp").startswith("no such socket: QEMU makes it with -qmp unix:")


def test_a_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "qmp").write_text("")
    assert refusal(tmp_path / "qmp").startswith("it is no socket; wanted the socket of QEMU's -qmp")


def test_the_socket_of_a_qemu_that_has_ended(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "qmp"))
    assert refusal(tmp_path / "qmp") == "connection refused: no QEMU listens there any more"


def test_no_permission(tmp_path: Path) -> None:
    (tmp_path / "qmp").write_text("")
    text = why_not(str(tmp_path / "qmp"), PermissionError(13, "Permission denied"), 5.0)
    assert text.startswith("permission denied: run hostsim as the user that owns it, ")


def test_a_monitor_that_another_client_holds_never_greets(serve: Callable[..., Monitor], tmp_path: Path) -> None:
    serve(greeting=None)
    assert refusal(tmp_path / "qmp").startswith("connected, but QEMU has not greeted within 0.2 s: another client holds")


@pytest.mark.filterwarnings("error")
def test_ctrl_c_before_a_question_is_sent_leaves_nothing_unawaited(
    serve: Callable[..., Monitor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve()
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    with closing(Qmp(tmp_path / "qmp")) as qmp, interruptible():
        qmp._runner.get_loop().call_soon(signal.raise_signal, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            qmp.ask("query-migrate")
        gc.collect()
        assert not unraisable
        assert qmp.ask("query-migrate") == ACTIVE


def test_the_monitor_for_people_is_named(serve: Callable[..., Monitor], tmp_path: Path) -> None:
    serve(greeting=b"QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ")
    assert refusal(tmp_path / "qmp").startswith("this is QEMU's monitor for people (-monitor); wanted its machine protocol")


def test_another_program_is_quoted(serve: Callable[..., Monitor], tmp_path: Path) -> None:
    serve(greeting=b"SSH-2.0-OpenSSH_9.2\r\n")
    assert refusal(tmp_path / "qmp") == "the program there does not talk QMP: it sent b'SSH-2.0-OpenSSH_9.2\\r\\n'"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("/run/vm.sock", "/run/vm.sock"), ("unix:/run/vm.sock,server=on,wait=off", "/run/vm.sock"),
        ("localhost:4444", ("localhost", 4444)), ("tcp:[::1]:4444,server=on", ("::1", 4444)), (":4444", ("localhost", 4444)),
        ("a,b.sock", "a,b.sock"),
    ],
)  # fmt: skip
def test_addresses_are_read_as_qemu_writes_them(text: str, address: object) -> None:
    assert address_of(text) == address
