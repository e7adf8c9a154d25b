"""Logs as strangers hand them in: rewritten by their tools, without some fields, in other units, of several guests."""

from __future__ import annotations

import bz2
import copy
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hostsim.core.errors import InputError
from hostsim.fitting.fitted import GuestFit, fit
from hostsim.fitting.refusal import NotIdentifiedError
from hostsim.logs.sniff import read_logs
from hostsim.report.fit_report import fit_lines
from hostsim.scenario.schema import Scenario
from hostsim.validation.fit.logs import qemu_text
from tests.helpers.polled import polled_log

Record = dict[str, Any]
PAGES, RATE = 16_384, 0.45
"""Pages that the real guest writes, and writes a second to each."""


def records() -> list[Record]:
    """The log of a real migration, an answer each 0.2 s."""
    some = [json.loads(line) for line in qemu_text("rand_090").splitlines()]
    return [{"t": one["t"], "query-migrate": one["info"]} for one in (*some[:-1:4], some[-1])]


def without(*names: str) -> Callable[[Record], Record]:
    """A record without some figures."""

    def edited(record: Record) -> Record:
        answer = record["query-migrate"]
        for part in (answer, answer.get("ram", {})):
            for name in names:
                part.pop(name, None)
        return record

    return edited


def in_strings(record: Record) -> Record:
    """Figures as a shell or Ansible quotes them."""
    for part in (answer := record["query-migrate"]), answer.get("ram", {}):
        part |= {key: str(value) for key, value in part.items() if isinstance(value, int | float)}
    return record


def in_keywords(value: Any) -> Any:
    """Names as keywords of Python."""
    return {key.replace("-", "_"): in_keywords(one) for key, one in value.items()} if isinstance(value, dict) else value


def in_kib(record: Record) -> Record:
    """Bytes that a poller divided by 1024."""
    ram = record["query-migrate"].get("ram", {})
    ram |= {key: ram[key] // 1024 for key in ("total", "remaining", "transferred") if key in ram}
    return record


def written(folder: Path, edit: Callable[[Record], Record], some: list[Record] | None = None) -> Path:
    """A file with the edited records."""
    path = folder / "job.jsonl"
    path.write_text("".join(f"{json.dumps(edit(copy.deepcopy(one)))}\n" for one in some or records()))
    return path


def is_the_guest(found: GuestFit, within: float) -> bool:
    """Whether the fit is near the real guest."""
    ((pages, rate),) = found.classes.pages
    return abs(pages / PAGES - 1) <= within and abs(rate / RATE - 1) <= 2 * within


@pytest.mark.parametrize("edit", [in_strings, in_keywords, without("total-time"), without("dirty-pages-rate", "mbps")])
def test_the_guest_is_found_in_a_log_that_a_tool_has_rewritten(edit: Callable[[Record], Record], tmp_path: Path) -> None:
    """Where QEMU's rates are gone, polls alone date the last rounds, of which several lie between two answers."""
    assert is_the_guest(fit(written(tmp_path, edit), draws=0), 0.05)


def test_a_log_without_counts_of_pages_is_told_by_its_bytes(tmp_path: Path) -> None:
    found = fit(written(tmp_path, without("normal", "duplicate")), draws=0)
    assert is_the_guest(found, 0.12)
    assert found.figures["zero_pages"].value == pytest.approx(32_780, rel=0.08)
    assert any("does not count pages" in line for line in fit_lines(found))


def test_a_count_of_the_first_pass_by_bytes_is_less_sure_than_one_by_pages(tmp_path: Path) -> None:
    by_pages, by_bytes = (fit(written(tmp_path, without(*keys)), draws=0) for keys in ((), ("normal", "duplicate")))
    assert by_bytes.found.points[0].off_pages > by_pages.found.points[0].off_pages


def test_a_log_in_kib_is_read_as_the_pages_tell(tmp_path: Path) -> None:
    found = fit(written(tmp_path, in_kib), draws=0)
    assert is_the_guest(found, 0.04)
    assert any("read as KiB" in line for line in fit_lines(found))


def test_a_log_that_tells_no_round_is_refused_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(NotIdentifiedError, match="does not count bitmap syncs"):
        fit(written(tmp_path, without("dirty-sync-count")), draws=0)


def test_a_log_polled_too_seldom_is_refused_with_its_reason(tmp_path: Path) -> None:
    some = records()
    with pytest.raises(NotIdentifiedError, match="no answer with figures of RAM was taken while the migration ran"):
        fit(written(tmp_path, without(), [some[0], some[-1]]), draws=0)


def test_guests_are_told_apart_by_the_name_around_the_answers(tmp_path: Path) -> None:
    both = [{"vm": name, **one} for name in ("web", "db") for one in records()]
    path = written(tmp_path, without(), both)
    with pytest.raises(InputError, match="migrations of 2 guests"):
        fit(path, draws=0)
    assert is_the_guest(fit(path, tag="db", draws=0), 0.04)


def test_many_migrations_with_one_reason_are_one_sentence(tmp_path: Path) -> None:
    some = records()
    failed = {"query-migrate": {"status": "failed", "error-desc": "refused", "total-time": 0}}
    tries = [one | {"t": 100.0 * k + one["t"]} for k in range(5) for one in (*some[:4], failed | {"t": 1.0})]
    found = fit(written(tmp_path, without(), [*tries, *({**one, "t": 900 + one["t"]} for one in some)]), draws=0)
    left = [line for line in fit_lines(found) if "Left out" in line]
    assert len(left) == 1
    assert "5 migrations of" in left[0]


def test_a_log_without_qemus_clock_began_before_its_first_answer() -> None:
    cases = Path(__file__).parents[1] / "data" / "logs" / "cases"
    by_stamps, by_clock = (fit(cases / name, draws=0).found.points for name in ("jq-ram.txt", "curved-quotes.txt"))
    assert [point.found_pages for point in by_stamps] == pytest.approx([point.found_pages for point in by_clock], rel=0.01)
    assert [point.t_s for point in by_stamps] == pytest.approx([point.t_s for point in by_clock], rel=0.02)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_log_is_read(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path, plain = tmp_path / "job.jsonl.packed", tmp_path / "job.jsonl"
    path.write_bytes(pack(qemu_text("rand_090").encode()))
    plain.write_text(qemu_text("rand_090"))
    assert len(read_logs(str(path))[0]) == len(read_logs(str(plain))[0])


@pytest.mark.parametrize(
    ("content", "said"),
    [(gzip.compress(b"x" * 999)[:-9], "broken"), (b"PK\x03\x04..", "ZIP"), (b"\x28\xb5\x2f\xfd", "zstdcat")],
    ids=["gzip", "zip", "zstd"],
)
def test_a_compressed_log_that_is_not_read_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "job.packed"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_logs(str(path))


def test_readings_of_a_dirty_rate_are_called_measurements(tmp_path: Path) -> None:
    path = tmp_path / "rates.jsonl"
    rates = ((23, 1), (11, 5))
    path.write_text("".join(
        json.dumps({"return": {"status": "measured", "dirty-rate": rate, "start-time": 10 * s, "calc-time": s}}) + "\n"
        for rate, s in rates
    ))  # fmt: skip
    said = " ".join(fit_lines(fit(path, draws=8, memory="1GiB")))
    assert "2 lengths of measurements" in said
    assert "no measurement is shorter than 1 s" in said
    assert "round" not in said


def test_a_log_without_the_bytes_remaining_is_refused_with_its_reason(tmp_path: Path) -> None:
    """Proxmox prints the bytes sent and all memory since 7.0, and no more the bytes that remain."""
    task = "2025-03-11 09:12:{:02d} migration active, transferred {}.0 GiB of 8.0 GiB VM-state, 1.0 GiB/s"
    path = tmp_path / "task.log"
    path.write_text("\n".join(task.format(second, second) for second in range(1, 30)))
    with pytest.raises(NotIdentifiedError, match="has the bytes sent but not those remaining"):
        fit(str(path))


BUSY = {
    "seed": 1,
    "duration": "60s",
    "vm": {"memory": "1GiB",
           "workload": [{"pattern": "uniform", "size": "300MiB", "write_rate": "200k/s", "arrivals": "poisson"}]},
    "migration": {"bandwidth": "unlimited", "timeout": "50s"},
    "link": {"bandwidth": "1Gbit/s"},
    "host": {"machine": "qemu-tcg-2core", "lateness": "drawn"},
}  # fmt: skip


def test_the_log_of_nova_is_fitted_by_the_syncs_that_it_shows(tmp_path: Path) -> None:
    form = (
        "2025-03-11 09:12:{second:02.0f}.1 7 INFO nova [instance: a1] Migration running for {second:.0f} secs, "
        "memory 9% remaining (bytes processed={ram[transferred]}, remaining={ram[remaining]}, total={ram[total]})"
    )
    polls = [json.loads(line) for line in polled_log(Scenario.model_validate(BUSY), 1.0).splitlines()]
    path = tmp_path / "nova-compute.log"
    path.write_text("\n".join(form.format(second=p["t"], ram=p["info"]["ram"]) for p in polls if "ram" in p["info"]))
    (log,) = read_logs(str(path))
    counted = [p["info"]["ram"]["dirty-sync-count"] for p in polls if "ram" in p["info"]]
    assert log.dirty_sync_count.tolist() == counted[: len(log)]
    assert "agrees" in " ".join(fit_lines(fit(str(path))))
