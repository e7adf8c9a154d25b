"""Fetch uPlot's published files into hostsim/report/assets, unedited, and write down version, licence and hashes.

    python docs/tools/fetch_uplot.py [VERSION]

The archive comes from npm's registry by its ordinary client, ``npm pack``, which checks the registry's hash.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[2] / "hostsim" / "report" / "assets"
VERSION = "1.6.32"
TAKEN = {"package/dist/uPlot.iife.min.js": "uPlot.iife.min.js", "package/dist/uPlot.min.css": "uPlot.min.css",
         "package/LICENSE": "uPlot.LICENSE"}  # fmt: skip
NOTE = "uplot.json"


def main(version: str = VERSION) -> None:
    """Fetch ``version`` and replace the files."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm is not installed: it fetches the package and checks its hash")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"uplot@{version}", "--silent"]
        archive = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
        with tarfile.open(Path(folder) / archive) as package:
            for member, name in TAKEN.items():
                found = package.extractfile(member)
                assert found is not None, f"{member} is not in {archive}"
                (ASSETS / name).write_bytes(found.read())
    (ASSETS / NOTE).write_text(json.dumps(note(version), indent=2) + "\n")
    print(f"uPlot {version} -> {ASSETS}")


def note(version: str) -> dict[str, object]:
    """Version, licence and SHA-256 of each file as it lies in the assets."""
    hashes = {name: hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() for name in TAKEN.values()}
    return {"name": "uPlot", "version": version, "licence": "MIT", "source": "https://www.npmjs.com/package/uplot",
            "sha256": hashes}  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:2])
