"""One migration, as mails, terminals, log shippers and web pages hand it on: each reading is that of the log itself."""

from __future__ import annotations

import csv
import html
import io
import json
import quopri
from collections.abc import Callable

import numpy as np
import pytest

from hostsim.core.errors import InputError
from hostsim.logs.model import MigrationLog
from hostsim.logs.sniff import parse_logs

MIB = 1 << 20
POLLS = 12


def _left_mib(second: int) -> int:
    return 8192 - 700 * second if second < 11 else 940


def job() -> str:
    """domjobinfo each second: 700 MiB/s, and a sync before the last answer."""
    return "\n".join(
        f"Job type:         Unbounded\nOperation:        Outgoing migration\nTime elapsed:     {1000 * n}         ms\n"
        f"Memory processed: {700 * n:.3f} MiB\nMemory remaining: {_left_mib(n):.3f} MiB\nMemory total:     8.000 GiB\n"
        f"Iteration:        {1 + n // 11}\nNormal pages:     {179200 * n}\n"
        for n in range(1, POLLS)
    )


def info() -> str:
    """info migrate each second."""
    return "\n".join(
        f"(qemu) info migrate\nMigration status: active\ntotal time: {1000 * n} ms\nexpected downtime: 300 ms\n"
        f"transferred ram: {700 * n * 1024} kbytes\nthroughput: 5872.03 mbps\nremaining ram: {_left_mib(n) * 1024} kbytes\n"
        f"total ram: 8388608 kbytes\nnormal: {179200 * n} pages\ndirty sync count: {1 + n // 11}"
        for n in range(1, POLLS)
    )


def qmp() -> str:
    """An answer a line."""
    return "\n".join(
        json.dumps({"return": {"status": "active", "total-time": 1000 * n, "ram": {
            "transferred": 700 * n * MIB, "remaining": _left_mib(n) * MIB, "total": 8 << 30,
            "dirty-sync-count": 1 + n // 11, "normal": 179200 * n}}})
        for n in range(1, POLLS)
    )  # fmt: skip


def pretty() -> str:
    """The same answers over many lines."""
    return "\n".join(json.dumps(json.loads(line), indent=2) for line in qmp().split("\n"))


def names() -> str:
    """Figures by their names."""
    return "\n".join(
        f"09:12:{n:02d} transferred={700 * n * MIB} remaining={_left_mib(n) * MIB} total={8 << 30} iteration={1 + n // 11}"
        for n in range(1, POLLS)
    )


LOGS = {"job": job, "info": info, "qmp": qmp, "pretty": pretty, "names": names}
Damage = Callable[[str], str]


def each(line: Callable[[int, str], str]) -> Damage:
    """A damage of every line, by its number and its text."""
    return lambda text: "\n".join(line(number, one) for number, one in enumerate(text.split("\n"), 1))


def _as_csv(text: str) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([["Line", "labels"], *([one, "app=virsh"] for one in text.split("\n"))])
    return out.getvalue()


def _as_mail(text: str) -> str:
    return quopri.encodestring(text.encode()).decode()


def _export(number: int, line: str) -> str:
    return f"__CURSOR=s=1;i={number}\n__REALTIME_TIMESTAMP={1741684364000000 + number}\n_HOSTNAME=kvm7\nMESSAGE={line}\n"


DAMAGES: dict[str, Damage] = {
    "mail": each(lambda _, line: f"> {line}"),
    "answered mail": each(lambda _, line: f">> {line}"),
    "quoted-printable": _as_mail,
    "spaces at the end in a mail": lambda text: _as_mail(text.replace("\n", " \n")),
    "web page": lambda text: f"<pre>{html.escape(text)}</pre>",
    "breaks of HTML": lambda text: text.replace("\n", "<br>\n"),
    "code of Markdown": each(lambda _, line: f"`{line}`"),
    "list": each(lambda _, line: f"* {line}"),
    "frame": each(lambda _, line: f"| {line} |"),
    "diff": each(lambda _, line: f"+{line}"),
    "cat -n": each(lambda number, line: f"{number:6d}\t{line}"),
    "numbers": each(lambda number, line: f"{number}: {line}"),
    "grep": each(lambda _, line: f"/var/log/migration.log:{line}"),
    "grep -n": each(lambda number, line: f"migration.log:{number}:{line}"),
    "logging": each(lambda _, line: f"INFO:watch.migration:{line}"),
    "kubectl": each(lambda _, line: f"[pod/virt-launcher-a-7x/compute] {line}"),
    "stern": each(lambda _, line: f"virt-launcher-a-7x \u203a compute {line}"),
    "compose": each(lambda _, line: f"watch-1  | {line}"),
    "colours": each(lambda _, line: f"\x1b[0;32m{line}\x1b[0m"),
    "colours in an editor": each(lambda _, line: f"^[[32m{line}^[[0m"),
    "colours of rsyslog": each(lambda _, line: f"#033[32m{line}#033[0m"),
    "colours in JSON": each(lambda _, line: json.dumps({"log": f"\x1b[32m{line}\x1b[0m\n", "stream": "stdout"})),
    "spaces of a word processor": lambda text: text.replace(" ", "\u00a0"),
    "jq": each(lambda _, line: json.dumps(line)),
    "array": lambda text: json.dumps(text.split("\n"), indent=1),
    "array in a line": lambda text: json.dumps(text.split("\n")),
    "field": lambda text: json.dumps({"output": text}),
    "CSV": _as_csv,
    "export of the journal": each(_export),
    "mail with numbers": each(lambda number, line: f"> {number}: {line}"),
    "two handlers": each(lambda _, line: f"{line}\n{line}"),
    "sentences around": lambda text: f"Hello,\n\nmy VM does not move:\n\n```\n{text}\n```\n\nWhat is wrong?\n",
}


def reading(text: str) -> MigrationLog:
    (log,) = parse_logs(text)
    return log


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", LOGS)
def test_a_log_is_read_as_before_its_damage(kind: str, damage: str) -> None:
    whole, damaged = reading(LOGS[kind]()), reading(DAMAGES[damage](LOGS[kind]()))
    assert damaged.format == whole.format
    for name in ("remaining_bytes", "transferred_bytes", "total_bytes", "dirty_sync_count", "total_time_ms"):
        np.testing.assert_array_equal(getattr(damaged, name), getattr(whole, name), err_msg=name)
    if kind == "names" and damage != "export of the journal":
        np.testing.assert_array_equal(damaged.t_s, whole.t_s)


def test_escapes_of_an_object_that_was_taken_out_of_a_string() -> None:
    text = "\n".join(f"level=debug msg={json.dumps(line)}" for line in qmp().split("\n"))
    np.testing.assert_array_equal(reading(text).transferred_bytes, reading(qmp()).transferred_bytes)


def test_objects_cut_at_the_right_edge_of_a_screen_are_read_as_far_as_they_go() -> None:
    log = reading("\n".join(line[:118] for line in qmp().split("\n")))
    np.testing.assert_array_equal(log.transferred_bytes[:-1], reading(qmp()).transferred_bytes[:-1])
    assert len(log) == POLLS - 1
    assert np.isnan(log.normal_pages[:-1]).all()


def test_spaces_and_commas_between_thousands() -> None:
    spaced = info().replace("kbytes", "kbytes").replace("8388608", "8\u202f388\u202f608")
    assert reading(spaced).total_bytes[0] == 8 << 30
    commas = "\n".join(
        f"09:12:{n:02d} transferred={700 * n * MIB:,} remaining='{_left_mib(n) * MIB:,}' total={8 << 30:,}"
        for n in range(1, POLLS)
    )
    np.testing.assert_array_equal(reading(commas).remaining_bytes, reading(names()).remaining_bytes)


def test_a_table_keeps_its_first_column() -> None:
    rows = "\n".join(f"{n}  {_left_mib(n) * MIB}  {700 * n * MIB}" for n in range(1, POLLS))
    log = reading(f"# t remaining transferred\n{rows}")
    assert log.t_s[-1] == POLLS - 1
    assert log.remaining_bytes[-1] == 940 * MIB


def test_text_wrapped_behind_equals_signs_is_no_mail() -> None:
    text = names()
    width = 62
    wrapped = "\n".join(line[i : i + width] for line in text.split("\n") for i in range(0, len(line), width))
    np.testing.assert_array_equal(reading(wrapped).remaining_bytes, reading(text).remaining_bytes)


@pytest.mark.parametrize("piece", ["a.b/", "> ", "remaining ", '{\\"', '""{""', "5 GiB of ", "<pre", "=\n"])
def test_long_lines_of_one_piece_end(piece: str) -> None:
    """A pattern that looks back over its line once a sign would take minutes."""
    with pytest.raises(InputError):
        parse_logs(piece * 100_000 + ":")
