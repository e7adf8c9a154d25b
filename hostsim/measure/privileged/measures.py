"""Everything that is measured as root, before the rounds of a calibration."""

from __future__ import annotations

from dataclasses import dataclass

from hostsim.core.errors import InputError, Problem
from hostsim.measure.kvm.bench import Bench
from hostsim.measure.privileged.ageing import ages
from hostsim.measure.privileged.putting_back import PuttingBack, check_root
from hostsim.measure.privileged.swap_device import CHOICES, ZRAM, take_device
from hostsim.measure.privileged.swap_in import SWAPPED_BYTES, swap_ins


@dataclass(frozen=True)
class AsRoot:
    """Options of a measurement as root. swap: one of swap_device.CHOICES, "" for no swapping."""

    swap: str = ""


def check_options(*, kvm: bool, as_root: bool, swap: str | None) -> AsRoot | None:
    """The options of a command that measures as root; None without ``as_root``. InputError, KvmError.

    kvm: --kvm was given. swap: the choice of --swap, None: not given.
    """
    if as_root and not kvm:
        raise InputError([Problem("", "--as-root", "no --kvm", "both: ageing and swap-ins are KVM's", "--kvm --as-root")])
    if swap is not None and not as_root:
        wanted = "--as-root beside it: a swap device is root's"
        raise InputError([Problem("", "--swap", swap, wanted, f"--kvm --as-root --swap {ZRAM}")])
    if swap is not None and swap not in CHOICES:
        raise InputError([Problem("", "--swap", swap, " or ".join(CHOICES), f"--kvm --as-root --swap {ZRAM}")])
    if not as_root:
        return None
    check_root()
    return AsRoot(swap or "")


def measure_as_root(bench: Bench, asked: AsRoot) -> str:
    """Ageing, and swap-ins if asked for; returns words for the swap device, "" for none."""
    ages(bench)
    if not asked.swap:
        return ""
    with PuttingBack() as back:
        device = take_device(asked.swap, back, SWAPPED_BYTES)
        swap_ins(bench)
    made = ", made for it and removed" if asked.swap == ZRAM else ", on before"
    return f"{device.path}{made}"
