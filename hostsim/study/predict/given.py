"""The scenario of a question: a file with options on top, or options alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import Any

from hostsim.core.errors import InputError, Problem, UnitError
from hostsim.core.units import format_bandwidth, parse_said_bandwidth
from hostsim.core.user_files import SCENARIO, read_toml
from hostsim.scenario import load_scenario
from hostsim.scenario.catalogue import found_file
from hostsim.scenario.overrides import apply_overrides
from hostsim.scenario.schema import Scenario
from hostsim.study.predict.guest import Guest, assumed, mode_overrides, scenario_of, tracking_of


@dataclass(frozen=True)
class Given:
    """A scenario file, None: without; a guest as options; texts of --set; the seed, None: the file's or 1."""

    file: Path | None
    guest: Guest
    overrides: tuple[str, ...] = ()
    seed: int | None = None

    def scenario(self) -> Scenario:
        """The scenario. InputError with all problems."""
        if self.file is None:
            return scenario_of(self.guest, self.overrides, self.seed)[0]
        self._refuse_a_second_guest()
        return load_scenario(found_file(self.file), self._texts(), self.seed)

    def table(self) -> dict[str, Any]:
        """The table of a file that holds the scenario. InputError."""
        if self.file is None:
            return scenario_of(self.guest, self.overrides, self.seed)[1]
        self.scenario()
        table: dict[str, Any] = read_toml(found_file(self.file), SCENARIO)
        apply_overrides(table, self._texts())
        return table | ({} if self.seed is None else {"seed": self.seed})

    def assumptions(self) -> tuple[str, ...]:
        """Assumptions on which the answer depends, where the options leave values open; () for a file, which has them."""
        return assumed(self.guest) if self.file is None else ()

    @property
    def said(self) -> str:
        """The scenario's name on a command line that replays a run."""
        return "SCENARIO.toml" if self.file is None else str(self.file)

    def command(self, file: str) -> str:
        """The command that runs the scenario. file: in which a guest of options was saved."""
        if self.file is None:
            return join(["hostsim", "run", file])
        words = ["hostsim", "run", str(self.file), *(word for text in self._texts() for word in ("--set", text))]
        return join([*words, *([] if self.seed is None else ["--seed", str(self.seed)])])

    def _texts(self) -> list[str]:
        """Texts of --set, those of the options first."""
        guest = self.guest
        found = list(mode_overrides(guest.mode))
        found += [f"link.bandwidth={_bandwidth(guest.bandwidth)}"] * bool(guest.bandwidth)
        found += [f"migration.downtime_limit={guest.downtime_limit}"] * bool(guest.downtime_limit)
        found += [f"migration.profile={guest.profile}"] * bool(guest.profile)
        tracking = guest.tracking or self._tracking()
        found += [f"vm.dirty_tracking={tracking}"] * bool(tracking)
        return [*found, *self.overrides]

    def _tracking(self) -> str:
        """The dirty log that the mode gives a file that names none, neither by --set; "": the file's, or the default."""
        name = tracking_of(self.guest.mode)
        if not name or self.file is None:
            return ""
        vm = read_toml(found_file(self.file), SCENARIO).get("vm")
        named = isinstance(vm, dict) and "dirty_tracking" in vm
        named = named or any(text.replace(" ", "").startswith("vm.dirty_tracking=") for text in self.overrides)
        return "" if named else name

    def _refuse_a_second_guest(self) -> None:
        if problems := list(self._twice()):
            raise InputError(problems)

    def _twice(self) -> Iterator[Problem]:
        for option in self.guest.of_a_vm:
            wanted = "either a scenario file or this option; --set replaces a key of the file"
            yield Problem(option, "", f"{option} beside {self.file}", wanted, "--set vm.workload.0.write_rate=50k/s")


def _bandwidth(text: str) -> str:
    """A bandwidth as people say it, as --set reads it; "" of "". InputError."""
    if not text:
        return ""
    try:
        return format_bandwidth(parse_said_bandwidth(text))
    except UnitError as error:
        raise InputError([Problem("--bandwidth", "", error.got, error.wanted, f"--bandwidth {error.example}")]) from None
