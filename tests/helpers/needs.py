"""What a test needs and a machine may not have; without it the test is skipped with the reason."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

import pytest

from hostsim.measure.kvm.device import Kvm, KvmError
from hostsim.measure.qemu.process import PLACES


def why_no_kvm() -> str:
    """Empty if /dev/kvm opens and can do what is needed."""
    try:
        Kvm.open().close()
    except KvmError as error:
        return str(error)
    return ""


needs_kvm = pytest.mark.skipif(bool(why_no_kvm()), reason=why_no_kvm() or "/dev/kvm opens")
needs_distributed = pytest.mark.skipif(find_spec("distributed") is None, reason="the extra cluster is not installed")
needs_notebooks = pytest.mark.skipif(
    find_spec("nbclient") is None or find_spec("ipykernel") is None, reason="nbclient or ipykernel is not installed"
)
needs_qemu = pytest.mark.skipif(not any(map(shutil.which, PLACES)), reason=f"{PLACES[0]} is not installed")
needs_nasm = pytest.mark.skipif(shutil.which("nasm") is None, reason="nasm is not installed")
