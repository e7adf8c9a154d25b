"""[vm.mmu]: the kernel's MMU under a guest whose dirty pages KVM finds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from hostsim.core.errors import UnitError
from hostsim.core.units import shown
from hostsim.costs.cost_file import is_path
from hostsim.costs.costs import sheet_names
from hostsim.costs.era import ClearLock, era_names, read_era
from hostsim.kvm.interfaces import Interface
from hostsim.kvm.rules import caught_by
from hostsim.kvm.spec import INDEXES, MEASURED, MmuSpec, Mode, PageSize, WriteTracking
from hostsim.scenario.problems import wanted_name
from hostsim.scenario.section import Section
from hostsim.scenario.types import Count, Flag, refused

Tracking = Literal["tcg", Interface]
DEFAULT = MmuSpec()
if TYPE_CHECKING:
    IndexName = str
else:
    IndexName = Literal[INDEXES]  # the schema lists the designs of the registry


def _read_era(value: object) -> str:
    """The name of an era, from one or from a kernel's version."""
    try:
        return read_era(value)
    except UnitError as error:
        raise refused(error.got, error.wanted, f'"{error.example}"') from None


def _read_costs(value: object) -> str:
    """The name of a sheet; or a path, whose file is read when the folder of the scenario is known."""
    if isinstance(value, str) and is_path(value) and "\0" not in value:
        return value
    if not isinstance(value, str) or value not in sheet_names():
        raise refused(shown(value), wanted_name(str(value), sheet_names()), f'"{sheet_names()[0]}"')
    return value


def _read_entries(value: Any) -> Any:
    if type(value) is int and value > 0 and value & (value - 1):
        raise refused(str(value), "a power of two", str(1 << value.bit_length() - 1))
    return value


def _read_index(value: object) -> object:
    """Refuse an unknown design with the nearest name; pydantic's ``Literal`` alone would list all designs."""
    if not isinstance(value, str) or value not in INDEXES:
        raise refused(shown(value), wanted_name(str(value), INDEXES), '"rmap"')
    return value


EraName = Annotated[
    str,
    BeforeValidator(_read_era),
    WithJsonSchema({"type": "string", "description": "era or kernel", "examples": [*era_names(), "5.10"]}),
]
CostsName = Annotated[
    str,
    BeforeValidator(_read_costs),
    WithJsonSchema(
        {"type": "string", "description": "cost sheet or its file", "examples": [*sheet_names(), "my-host.toml"]}
    ),
]


class Mmu(Section):
    """[vm.mmu]: which kernel, on which machine, in which mode. Without KVM it has no meaning."""

    era: EraName = Field(
        default=DEFAULT.era,
        description='kernel that decides how KVM locks, logs and splits: an era, or a release such as "5.10"',
        examples=["5.10"],
    )
    costs: CostsName = Field(
        default=DEFAULT.costs,
        description="cost sheet: costs of exits, faults, flushes, walks; or a file of your own, relative to "
        "the scenario file",
    )
    mode: Mode = Field(
        default="tdp", description="tdp: the TDP MMU; direct: two-dimensional paging through rmaps; shadow: shadow paging"
    )
    page_size: PageSize = Field(
        default=DEFAULT.page_size, description="pages of the host's memory under the guest, mapped so until they are logged"
    )
    write_tracking: WriteTracking = Field(
        default=DEFAULT.write_tracking,
        description="how KVM finds a first write: by a fault, by the processor's log (PML), or by a scan of D bits",
    )
    eager_split: Flag | None = Field(
        default=DEFAULT.eager_split,
        description="KVM splits large pages when it protects them, not in faults; default: as the era does in the TDP MMU, "
        "else not",
    )
    clear_lock: ClearLock | None = Field(
        default=DEFAULT.clear_lock,
        description="how CLEAR takes mmu_lock: exclusive, once a call, as kernels do (default); as patches proposed: "
        "each-mask, anew for each 64 pages, or shared, beside faults of the TDP MMU",
    )
    ring_entries: Annotated[Count, BeforeValidator(_read_entries)] = Field(
        default=DEFAULT.ring_entries, ge=128, le=65536, description="dirty-ring: entries of each vCPU's ring, a power of two"
    )
    index: Annotated[IndexName, BeforeValidator(_read_index)] = Field(
        default=DEFAULT.index,
        description="index that finds sptes by gfn, in any era: its counted work replaces the measured work; "
        "measured: the kernel's own; book3s-hv reads C bits, nothing is protected; book3s-pr unmaps what others protect",
    )
    a_bits: Flag = Field(
        default=DEFAULT.a_bits,
        description="page tables with accessed bits; false: as before Haswell, a page made old faults at its next access",
    )

    def spec(self, costs: str = "") -> MmuSpec:
        """The MMU of a machine; ``costs``: name or resolved path of the sheet, "" for the key ``costs`` as written."""
        of_index = self.index != MEASURED and "write_tracking" not in self.model_fields_set
        keys = {name: getattr(self, name) for name in type(self).model_fields if name != "mode"}
        spec = MmuSpec(**keys, mmu=self.mode)
        tracking = caught_by(spec.index) if of_index else spec.write_tracking
        return replace(spec, costs=costs or spec.costs, write_tracking=tracking)
