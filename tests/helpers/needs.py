"""Requirements of tests that a machine may not meet; without one the test is skipped with the reason."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from hostsim.measure.kvm.device import Kvm, KvmError
from hostsim.measure.kvm.host import read_host
from hostsim.measure.privileged.swap_device import CONTROL, SWAPS, swaps_on
from hostsim.measure.qemu.process import PLACES
from tests.helpers.browser import find_browser

AXE, FETCH_S = "4.14.1", 60
"""The version of axe-core that pages are checked with, and the time to fetch it."""


def why_no_kvm() -> str:
    """Empty if /dev/kvm opens and has the capabilities that the tests need."""
    try:
        Kvm.open().close()
    except KvmError as error:
        return str(error)
    return ""


def why_no_shadow_mmu() -> str:
    """Empty if /dev/kvm opens and KVM shadows the guest's page tables."""
    return why_no_kvm() or ("" if read_host().mmu == "shadow" else "KVM has EPT or NPT here, and shadows no page table")


needs_kvm = pytest.mark.skipif(bool(why_no_kvm()), reason=why_no_kvm() or "/dev/kvm opens")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="root alone may swap")
needs_zram = pytest.mark.skipif(not (CONTROL / "hot_add").exists(), reason=f"{CONTROL}/hot_add is not there")
needs_no_swap = pytest.mark.skipif(SWAPS.exists() and bool(swaps_on()), reason="a swap device is on")
needs_mkswap = pytest.mark.skipif(shutil.which("mkswap") is None, reason="mkswap is not installed")
needs_shadow_mmu = pytest.mark.skipif(bool(why_no_shadow_mmu()), reason=why_no_shadow_mmu() or "KVM shadows page tables")
needs_distributed = pytest.mark.skipif(find_spec("distributed") is None, reason="the extra cluster is not installed")
needs_notebooks = pytest.mark.skipif(
    find_spec("nbclient") is None or find_spec("ipykernel") is None, reason="nbclient or ipykernel is not installed"
)
needs_qemu = pytest.mark.skipif(not any(map(shutil.which, PLACES)), reason=f"{PLACES[0]} is not installed")
needs_nasm = pytest.mark.skipif(shutil.which("nasm") is None, reason="nasm is not installed")
needs_browser = pytest.mark.skipif(find_browser() is None, reason="Chromium is not installed")


def axe_source() -> str:
    """The text of axe-core, fetched by npm into the cache of tests; the test is skipped where it cannot be had."""
    cached = cache_folder() / f"axe-core-{AXE}.min.js"
    if not cached.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("axe-core is not in the cache, and npm is not installed")
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([npm, "pack", f"axe-core@{AXE}", "--silent"], cwd=folder, capture_output=True, text=True,
                                  timeout=FETCH_S, check=False)  # fmt: skip
            if done.returncode:
                pytest.skip(f"axe-core cannot be fetched: {done.stderr.strip()[:120]}")
            with tarfile.open(Path(folder) / done.stdout.strip()) as package:
                found = package.extractfile("package/axe.min.js")
                assert found is not None
                content = found.read()
        cached.parent.mkdir(parents=True, exist_ok=True)
        cached.write_bytes(content)
    return cached.read_text(encoding="utf-8")


def cache_folder() -> Path:
    """The folder in which tests keep what they fetch."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hostsim-tests"
