"""Every `# Model limit:` comment stands on its docs page."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.helpers.docs_tools import docs_tool

SAMPLE = '''
# Model limit: one link,
# no sharing.
x = 1
class Link:
    """A link.

    # Model limit: fluid
    bytes.
    # Model limit: instant.
    """

    def send(self):
        # Model limit: no loss.
        return 1
'''


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return docs_tool("collect_limits")


def test_the_page_is_current(tool: ModuleType) -> None:
    assert tool.main(["--check"]) == 0, "run `make docs`"


def test_limits_are_found_with_their_place(tool: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "hostsim" / "link.py"
    file.parent.mkdir()
    file.write_text(SAMPLE)
    found = [(limit.place, limit.text) for limit in tool.limits_of(file, tmp_path)]
    assert found == [
        ("hostsim/link.py", "one link, no sharing."),
        ("hostsim/link.py::Link", "fluid bytes."),
        ("hostsim/link.py::Link", "instant."),
        ("hostsim/link.py::Link.send", "no loss."),
    ]
    assert "one link, no sharing." in tool.page(file.parent, tmp_path)
