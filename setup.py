"""The wheel brings the scenarios along, as data of the package; a checkout has them in one place, ``scenarios/``."""

from pathlib import Path
from shutil import copyfile

from setuptools import setup
from setuptools.command.build_py import build_py

SUFFIXES = {".toml", ".py", ".csv"}


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


setup(cmdclass={"build_py": WithScenarios})
