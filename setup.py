"""The wheel brings the scenarios along, as data of the package; a checkout has them in one place, ``scenarios/``.

Manual page and completions go where shells look for them below the prefix of the installation; `docs/tools/write_man.py`
writes them.
"""

from pathlib import Path
from shutil import copyfile

from setuptools import setup
from setuptools.command.build_py import build_py

SUFFIXES = {".toml", ".py", ".csv"}
SHARED = {
    "share/man/man1": "docs/man/hostsim.1",
    "share/bash-completion/completions": "docs/man/hostsim",
    "share/zsh/site-functions": "docs/man/_hostsim",
    "share/fish/vendor_completions.d": "docs/man/hostsim.fish",
}


class WithScenarios(build_py):
    """Also copies ``scenarios/`` into the package that is built; an editable installation reads the checkout."""

    def run(self) -> None:
        """Build as setuptools does, then copy."""
        super().run()
        if self.editable_mode:
            return
        folder = Path(self.build_lib, "hostsim", "data", "scenarios")
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(Path("scenarios").iterdir()):
            if path.suffix in SUFFIXES:
                copyfile(path, folder / path.name)


setup(cmdclass={"build_py": WithScenarios}, data_files=[(folder, [name]) for folder, name in SHARED.items()])
