"""The documentation hangs together: links lead somewhere, every page is reachable, generated ones current."""

from __future__ import annotations

import re
from pathlib import Path
from runpy import run_path

import pytest

from tests.docs.blocks import ROOT, pages

LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


def local_links(page: Path) -> list[Path]:
    found = [match.group(1) for match in LINK.finditer(page.read_text(encoding="utf-8"))]
    return [(page.parent / link).resolve() for link in found if "://" not in link]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert [str(link.relative_to(ROOT)) for link in local_links(page) if not link.exists()] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page.suffix == ".md" and page not in reached and page.exists():
            reached.add(page)
            waiting += local_links(page)
    assert [str(page.relative_to(ROOT)) for page in pages() if page not in reached] == []


# That of limits is checked by tests/tidy/test_model_limits.py.
@pytest.mark.parametrize("tool", [
    "write_schema.py", "write_results.py", "write_validation.py", "write_kvm_tables.py", "write_modes.py",
    "write_forms.py",
])
def test_generated_pages_are_current(
    tool: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ROOT / "docs" / "tools" / tool
    monkeypatch.syspath_prepend(str(path.parent))
    assert run_path(str(path))["main"](["--check"]) == 0, capsys.readouterr()
