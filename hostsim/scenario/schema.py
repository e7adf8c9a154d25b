"""A scenario: guest, migration, link and host, checked once and frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from hostsim.core.errors import Finding, InputError
from hostsim.costs.cost_file import is_path
from hostsim.scenario.checkpoint_schema import Checkpoints
from hostsim.scenario.checks import cross_findings
from hostsim.scenario.complete import complete, vms_of, without_idle_keys
from hostsim.scenario.guest_schema import Active, Fill, RamBlock, Vm, Workload
from hostsim.scenario.host_schema import Host, Link, Migration
from hostsim.scenario.kvm_checks import idle_keys
from hostsim.scenario.kvm_schema import Mmu
from hostsim.scenario.memory_checks import without_idle_host_keys
from hostsim.scenario.memory_schema import Ageing, Destination, Frames, HostMemory
from hostsim.scenario.plugged import Daemon
from hostsim.scenario.problems import LOOKED_UP_MAX, Location, dotted, problems_of, without_duplicates
from hostsim.scenario.section import SOURCE, Section
from hostsim.scenario.toml_text import scenario_text
from hostsim.scenario.trace_csv import TraceColumns, load_trace
from hostsim.scenario.types import Count, Duration, Name, Text

__all__ = [
    "Active", "Ageing", "Checkpoints", "Destination", "Fill", "Frames", "Host", "HostMemory", "Link", "Migration", "Mmu",
    "RamBlock", "Scenario",
    "Vm", "Workload",
]  # fmt: skip

SEED_MAX = (1 << 63) - 1
DURATION_MAX_NS = 366 * 86_400 * 1_000_000_000


class Scenario(Section):
    """Everything a run depends on but the version of hostsim. InputError with all problems."""

    name: Name | None = Field(default=None, description="name of the output folder; default: name of the file")
    question: Text = Field(default="", description="the question that the scenario answers")
    seed: Count = Field(default=1, ge=0, le=SEED_MAX, description="seed of every random draw")
    duration: Duration = Field(
        default=600_000_000_000, gt=0, le=DURATION_MAX_NS, description="cap on simulated time", examples=["10min"]
    )
    until: Literal["duration", "work"] = Field(
        default="duration", description="work: the run ends when every workload of [vm] has done its one `active` window"
    )
    vm: Vm = Field(description="the guest")
    migration: Migration | None = Field(default=None, description="one live migration")
    checkpoints: Checkpoints | None = Field(
        default=None, description="continuous checkpoints: a replica follows the guest after [migration] has copied it"
    )
    link: Link = Field(default=Link(), description="the network")
    host: Host = Field(default=Host(), description="the machine")
    destination: Destination | None = Field(
        default=None, description="the host to which [vm] moves while it runs, if its memory may run short"
    )
    ageing: Ageing | None = Field(default=None, description="a daemon of the host that ages memory")
    neighbour: tuple[Vm, ...] = Field(
        default=(), description="further VMs on the host, keys as in [vm]; never migrated; draws of their own"
    )

    daemon: tuple[Daemon, ...] = Field(
        default=(), description="processes of the host that plug-ins bring; see [plug-ins](../howto/plug-in.md)"
    )

    _folder: Path = PrivateAttr(default=Path())
    _traces: dict[str, TraceColumns] = PrivateAttr(default_factory=dict)
    _sheet: str = PrivateAttr(default="")

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, data: Any, handler: Callable[[Any], Self]) -> Self:
        try:
            scenario = handler(data)
        except ValidationError as error:
            found = problems_of(error, cls, SOURCE)
            more = [finding.problem(SOURCE) for finding in findings_despite(data, error, handler)]
            raise InputError(without_duplicates([*found, *more])) from None
        findings = cross_findings(scenario)
        if findings:
            raise InputError([finding.problem(SOURCE) for finding in findings])
        complete(scenario)
        return scenario

    def resolved(self) -> dict[str, Any]:
        """All keys with their defaults, JSON-able, in canonical units; a scenario made from this dict equals this one."""
        table = self.model_dump(mode="json", exclude_none=True)
        table["vm"] = _resolved_vm(self.vm, table["vm"])
        if not self.daemon:
            del table["daemon"]
        both = zip(self.neighbour, table.pop("neighbour"), strict=True)
        neighbours = [_resolved_vm(vm, dumped) for vm, dumped in both]
        table["host"] |= asdict(self.host.sheet())
        if self.host.memory is not None:
            table["host"]["memory"] = without_idle_host_keys(self.host.memory, table["host"]["memory"])
        if self.destination is not None:
            table["destination"]["memory"] = without_idle_host_keys(self.destination.memory, table["destination"]["memory"])
        if self.ageing is not None and self.ageing.policy != "scan":
            del table["ageing"]["call_pages"]
        if self.checkpoints is not None:
            for key in self.checkpoints.idle_keys:
                del table["checkpoints"][key]
        return table | ({"neighbour": neighbours} if neighbours else {})

    def to_table(self) -> dict[str, Any]:
        """The keys that were given, JSON-able, with units; a scenario made from this dict equals this one."""
        return self.model_dump(mode="json", exclude_unset=True, exclude_none=True)

    def to_toml(self) -> str:
        """The text of a file that equals the scenario: the keys that were given or that the profile sets."""
        return scenario_text(self.to_table())

    def traces(self) -> dict[str, TraceColumns]:
        """Recorded touches by key of the VM and name of the workload; files are read once. InputError."""
        for key, vm in vms_of(self):
            for workload in vm.workload:
                name = trace_name(key, workload)
                if workload.file is not None and name not in self._traces:
                    self._traces[name] = load_trace(self._folder / workload.file)
        return self._traces

    def costs(self) -> str:
        """The cost sheet of vm.mmu: its name, or the path of its file; "" without KVM."""
        if self._sheet:
            return self._sheet
        name = "" if self.vm.mmu is None else self.vm.mmu.costs
        return str(self._folder / name) if is_path(name) else name

    @property
    def shares_host(self) -> bool:
        """Whether the host has [host.memory], [ageing] or neighbours."""
        return self.host.memory is not None or self.ageing is not None or len(self.neighbour) > 0

    @property
    def folder(self) -> Path:
        """The folder that trace files and cost sheets are relative to."""
        return self._folder

    def with_inputs(self, traces: Mapping[str, TraceColumns], sheet: str) -> Self:
        """A copy that reads none of its own files.

        traces: touches by the key of ``traces()``.
        sheet: path of the file that takes the place of its cost sheet; "" where the sheet comes with hostsim.
        """
        copy = self.in_folder(self._folder)
        copy._traces, copy._sheet = dict(traces), sheet  # noqa: SLF001  its own kind
        return copy

    def in_folder(self, folder: Path) -> Self:
        """A copy whose trace files and cost sheets are relative to ``folder``."""
        copy = self.model_copy()
        copy._folder, copy._traces = folder, {}  # noqa: SLF001  its own kind
        return copy


def trace_name(key: str, workload: Workload) -> str:
    """The key in ``Scenario.traces()`` of the touches of ``workload``, of the VM at ``key``."""
    return str(workload.name) if key == "vm" else f"{key}.{workload.name}"


def _resolved_vm(vm: Vm, dumped: dict[str, Any]) -> dict[str, Any]:
    """``dumped`` without keys that mean nothing for ``vm``."""
    both = zip(vm.workload, dumped["workload"], strict=True)
    found = dumped | {"workload": [without_idle_keys(workload, table) for workload, table in both]}
    if "mmu" in dumped:
        found["mmu"] = {key: value for key, value in dumped["mmu"].items() if key not in idle_keys(vm)}
    return found


STAND_INS: Mapping[str, str | int] = {
    "memory": "64TiB", "pattern": "idle", "name": "stand-in", "size": "4KiB", "length": "1s",
}  # fmt: skip


def findings_despite(data: Any, error: ValidationError, validate: Callable[[Any], Scenario]) -> list[Finding]:
    """Findings of ``data`` that rest on none of the keys that ``error`` names; none if ``data`` cannot be repaired.

    So one run reports all problems: wrong keys are taken out, keys without a default get a stand-in, and a finding that
    rests on either is not reported.
    """
    if error.error_count() > LOOKED_UP_MAX:
        return []
    locations = [one["loc"] for one in error.errors(include_url=False)]
    mended = _copy(data)
    if not all(_mend(mended, location) for location in locations):
        return []
    try:
        findings = cross_findings(validate(mended))
    except (ValidationError, InputError):
        return []
    broken = frozenset(dotted(location) for location in locations)
    return [finding for finding in findings if not finding.rests_on(broken)]


def _copy(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _copy(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_copy(value) for value in data]
    return data


def _mend(data: Any, location: Location) -> bool:
    """Take the key at ``location`` out or put its stand-in there. In place. False if that does not work."""
    owner = _at(data, location[:-1])
    if not isinstance(owner, dict) or not location or not isinstance(location[-1], str):
        return False
    owner.pop(location[-1], None)
    if location[-1] in STAND_INS and not (location[-1] == "name" and len(location) == 1):
        owner[location[-1]] = STAND_INS[location[-1]]
    return True


def _at(data: Any, location: Location) -> Any:
    for part in location:
        if isinstance(part, int):
            data = data[part] if isinstance(data, Sequence) and part < len(data) else None
        else:
            data = data.get(part) if isinstance(data, Mapping) else None
    return data
