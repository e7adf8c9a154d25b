"""A Dask scheduler and its workers on this machine, each a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.helpers.command import environment

PATIENCE_S = 60
QUIET = {"DASK_LOGGING__DISTRIBUTED": "critical"}
WITHOUT_HOSTSIM = """\
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "hostsim":
            raise ModuleNotFoundError("No module named 'hostsim'")

sys.meta_path.insert(0, Hidden())
"""


@dataclass
class DaskCluster:
    """Processes of a cluster; ``workers`` by name."""

    folder: Path
    address: str = ""
    scheduler: subprocess.Popen[bytes] | None = None
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def add_worker(self, name: str, before: str = "") -> None:
        """Start a worker; before: Python that runs ahead of it."""
        options = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--name", name)
        command = ["worker", self.address, *options, "--local-directory", str(self.folder)]
        self.workers[name] = self._started(command, before)

    def kill(self, name: str) -> None:
        """As the kernel does when memory runs out."""
        self.workers[name].send_signal(signal.SIGKILL)
        self.workers.pop(name).wait()

    def start(self) -> None:
        place = self.folder / "scheduler.json"
        options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(place))
        self.scheduler = self._started(["scheduler", *options])
        end_s = time.monotonic() + PATIENCE_S
        while not (place.exists() and place.read_text().strip().endswith("}")):
            assert self.scheduler.poll() is None
            assert time.monotonic() < end_s
            time.sleep(0.05)
        self.address = json.loads(place.read_text())["address"]

    def stop(self) -> None:
        for process in [*self.workers.values(), self.scheduler]:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    def _started(self, arguments: list[str], before: str = "") -> subprocess.Popen[bytes]:
        code = f"{before}\nimport sys\nsys.argv = {['dask', *arguments]!r}\nfrom dask.__main__ import main\nmain()\n"
        env = environment(**QUIET)
        nowhere = subprocess.DEVNULL
        return subprocess.Popen([sys.executable, "-c", code], cwd=self.folder, env=env, stdout=nowhere, stderr=nowhere)


@contextmanager
def dask_cluster(folder: Path, *workers: str) -> Iterator[DaskCluster]:
    """A scheduler with ``workers``; its processes end with the block."""
    cluster = DaskCluster(folder)
    try:
        cluster.start()
        for name in workers:
            cluster.add_worker(name)
        yield cluster
    finally:
        cluster.stop()
