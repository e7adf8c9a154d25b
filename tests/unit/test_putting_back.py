"""Changes of the host are put back on success, on errors and on signals, in reverse order."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from hostsim.measure.kvm.device import KvmError
from hostsim.measure.privileged import putting_back
from hostsim.measure.privileged.putting_back import SIGNALS, TERMINATED, PuttingBack, check_root

Log = list[str]


def change(back: PuttingBack, log: Log, name: str, during: Callable[[], object] = lambda: None) -> None:
    """A step that is logged as ``+name`` and undone as ``-name``."""

    def do() -> str:
        during()
        log.append(f"+{name}")
        return name

    back.step(do, lambda result: log.append(f"-{result}"), f"undo {name}")


def sent(number: int) -> Callable[[], object]:
    """This process gets the signal."""
    return lambda: os.kill(os.getpid(), number)


def test_steps_are_undone_last_first() -> None:
    log: Log = []
    with PuttingBack() as back:
        change(back, log, "a")
        change(back, log, "b")
        log.append("work")
    assert log == ["+a", "+b", "work", "-b", "-a"]


def test_a_step_that_fails_is_not_undone_and_the_others_are() -> None:
    log: Log = []

    def fail() -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"), PuttingBack() as back:  # noqa: PT012  the block is the work
        change(back, log, "a")
        change(back, log, "b", fail)
    assert log == ["+a", "-a"]


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_the_work_between_steps(number: int, error: type[BaseException]) -> None:
    log: Log = []
    before = [signal.getsignal(one) for one in SIGNALS]
    with pytest.raises(error) as caught, PuttingBack() as back:  # noqa: PT012  the block is the work
        change(back, log, "a")
        sent(number)()
        log.append("not reached")
    assert log == ["+a", "-a"]
    assert [signal.getsignal(one) for one in SIGNALS] == before
    assert number != signal.SIGTERM or caught.value.code == TERMINATED  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_within_a_step_waits_for_its_end(number: int) -> None:
    log: Log = []
    with pytest.raises(BaseException, match=r"143|^$"), PuttingBack() as back:  # noqa: PT012  the block is the work
        change(back, log, "a", sent(number))
        log.append("not reached")
    assert log == ["+a", "-a"]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_steps_are_undone_waits_for_the_last(number: int) -> None:
    log: Log = []
    with pytest.raises(BaseException, match=r"143|^$"), PuttingBack() as back:  # noqa: PT012  the block is the work
        change(back, log, "a")
        back.step(lambda: None, lambda _: sent(number)(), "undo")
    assert log == ["+a", "-a"]


def test_a_step_that_cannot_be_undone_is_told_with_the_command_and_the_others_go_on() -> None:
    log: Log = []

    def stuck(_: object) -> None:
        raise OSError("Device or resource busy")

    with pytest.raises(KvmError, match=r"not put back: swapoff 7 \(Device or resource busy\); run these") as caught:  # noqa: PT012, SIM117  the block is the work
        with PuttingBack() as back:
            change(back, log, "a")
            back.step(lambda: 7, stuck, "swapoff {}")
            raise RuntimeError("the work")
    assert log == ["+a", "-a"]
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_root_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(putting_back.os, "geteuid", lambda: 0)
    check_root()
    monkeypatch.setattr(putting_back.os, "geteuid", lambda: 1000)
    with pytest.raises(KvmError, match=r"--as-root: this process is not root's; leave the option out"):
        check_root()
