"""The record of a mechanism of migration as a scenario names it, and all of them, found by their folder.

From a record follow the keys of [migration], their errors, the modes of ``hostsim compare --modes`` and ``hostsim solve``,
the commands that a verdict advises, and the loops that are compiled ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from hostsim.plugins.parts import parts_in
from hostsim.qemu.mechanism import GENERAL

if TYPE_CHECKING:
    # Circle of types: [migration] is made of the records' sections, and their functions get it.
    from hostsim.core.errors import Finding
    from hostsim.scenario.host_schema import Migration
    from hostsim.scenario.schema import Scenario
    from hostsim.scenario.section import Section

Keys = Mapping[str, str]


@dataclass(frozen=True)
class Default:
    """A default of a management layer, as a scenario file would write it, and where it is from.

    memory_share: in place of ``value``: that share of guest memory in bytes, rounded up to a power of two; 0: ``value``.
    """

    value: str | bool
    source: str
    memory_share: float = 0.0

    def of_memory_bytes(self, memory_bytes: int) -> int:
        """The bytes of ``memory_share``."""
        return 1 << max(int(memory_bytes * self.memory_share) - 1, 0).bit_length()


class Kind(IntEnum):
    """The way in which a mechanism helps; modes are listed and tried in this order."""

    THROTTLE = 0
    """It slows the guest."""
    STREAM = 1
    """It sends fewer bytes, or more at a time."""
    SWITCH = 2
    """It moves the guest before its memory."""


@dataclass(frozen=True)
class Mechanism:
    """A mechanism as a scenario names it; its functions get the Migration, and may name it by their own section of keys.

    name: that of its record in hostsim.qemu.mechanisms.
    place: order of its keys in [migration].
    capability: key that turns it on.
    keys: section with its keys, a base of the schema of [migration].
    host: section with its constants of [host], of the names that the host sheet has; None: it has none.
    modelled: names of its parts that are modelled, for errors.
    aliases: names in libvirt, virsh and older QEMU, and the key of [migration] that stands for each.
    modes: mode of ``hostsim compare --modes`` to the keys that it turns on.
    options: capabilities that mean nothing without it, and that no mode turns on.
    at: key that ``@N`` behind a mode sets; "": none.
    needs_rings: its guest has to have dirty rings.
    remedy: kind of the remedy (hostsim.verdict) that turns it on; "": no command turns it on.
    remedy_value: value that its command has in an example; None: the command takes none.
    commands: profile to the command of each kind of remedy that the mechanism brings.
    profiles: profile to the defaults of its keys, where that management layer sets them.
    parameters: fields of MigrationParameters that are not a key of that name and unit; None: all are.
    inputs: inputs of the machine for it beside MigrationParameters; None: there are none.
    values: findings about its keys by themselves.
    findings: findings between its keys and others.
    beside: findings between its keys and other tables; a scenario without a migration is asked, too.
    warnings: sentences about settings that no real machine has, or effects that the model leaves out, with the mechanism.
    assumptions: sentences about values that hostsim assumes because the scenario leaves them out.
    sure_streams: threads of which each does no more for a page than host.page_send_ns, by the keys as resolved; None: one.
    always_ends: whether these keys end any migration.
    is_forecast: the closed form of pre-copy (hostsim.study.predict.forecast) holds with it.
    warm_up: keys of [migration] of the run that compiles its loops ahead; None: it has no loops.
    """

    name: str
    place: int
    kind: Kind
    capability: str
    keys: type[Section]
    host: type[Section] | None = None
    modelled: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    modes: Mapping[str, Keys] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    at: str = ""
    needs_rings: bool = False
    remedy: str = ""
    remedy_value: float | None = None
    commands: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    profiles: Mapping[str, Mapping[str, Default]] = field(default_factory=dict)
    parameters: Callable[[Any], dict[str, Any]] | None = None
    inputs: Callable[[Scenario], Any] | None = None
    values: Callable[[Any], Iterator[Finding]] | None = None
    findings: Callable[[Any], Iterator[Finding]] | None = None
    beside: Callable[[Scenario], Iterator[Finding]] | None = None
    warnings: Callable[[Scenario], Iterator[str]] | None = None
    assumptions: Callable[[Scenario], Iterator[str]] | None = None
    sure_streams: Callable[[Mapping[str, Any]], int] | None = None
    always_ends: Callable[[Any], bool] | None = None
    is_forecast: bool = False
    warm_up: Mapping[str, Any] | None = None

    def is_on(self, migration: Migration) -> bool:
        """Whether ``migration`` turns it on."""
        return bool(getattr(migration, self.capability))

    @property
    def off(self) -> Keys:
        """Values that turn off the capabilities and methods of its modes, as ``--set`` takes them."""
        keys = dict.fromkeys([*(key for on in self.modes.values() for key in on), *self.options])
        defaults = {key: self.keys.model_fields[key].default for key in keys}
        return {key: _off(value) for key, value in defaults.items() if value is False or value == "none"}


def _off(default: object) -> str:
    return "false" if default is False else str(default)


def mechanisms() -> tuple[Mechanism, ...]:
    """Every mechanism, by place."""
    return parts_in("hostsim.scenario.mechanisms")


def by_kind() -> tuple[Mechanism, ...]:
    """Every mechanism: throttles, streams, switches."""
    return tuple(sorted(mechanisms(), key=lambda one: (one.kind, one.place)))


def on_in(migration: Migration) -> tuple[Mechanism, ...]:
    """The mechanisms that ``migration`` turns on, by place."""
    return tuple(one for one in mechanisms() if one.is_on(migration))


def inputs_of(scenario: Scenario) -> dict[str, Any]:
    """Inputs of the machine for each mechanism beside MigrationParameters, by name."""
    return {one.name: one.inputs(scenario) for one in mechanisms() if one.inputs is not None}


def always_ends(migration: Migration) -> bool:
    """Whether a mechanism that is on ends any migration."""
    return any(one.always_ends(migration) for one in on_in(migration) if one.always_ends is not None)


def bases_of(general: Mapping[int, type[Section]]) -> tuple[type[Section], ...]:
    """Bases of [migration], last first, as pydantic reads them; ``general``: sections of no mechanism, by place."""
    placed = [*general.items(), *((one.place, one.keys) for one in mechanisms())]
    return tuple(keys for _, keys in sorted(placed, key=lambda pair: pair[0], reverse=True))


def host_bases_of(first: type[Section], last: type[Section]) -> tuple[type[Section], ...]:
    """Bases of [host], last first: ``first``, the constants of mechanisms, those of the last one first, and ``last``."""
    return (last, *(one.host for one in mechanisms() if one.host is not None), first)


def modelled(before: str, general: tuple[str, ...]) -> str:
    """``before``, then the modelled parts of each mechanism, ``general`` at its place, between commas."""
    placed = [((one.kind, one.place), one.modelled) for one in mechanisms()]
    placed.append(((Kind.STREAM, GENERAL), general))
    return ", ".join([before, *(name for _, names in sorted(placed) for name in names)])


def defaults_of(profile: str) -> dict[str, Default]:
    """Defaults that ``profile`` has for keys of mechanisms."""
    return {key: default for one in mechanisms() for key, default in one.profiles.get(profile, {}).items()}


def command_of(remedy: str, profile: str) -> str:
    """The command of ``profile`` for ``remedy``, of a mechanism; "" if there is none."""
    found = (one.commands[profile][remedy] for one in mechanisms() if remedy in one.commands.get(profile, {}))
    return next(found, "")
