"""Build the site, build/site, from the pages of docs/, and check what Sphinx does not: each link, what a page would fetch.

Warnings of Sphinx are errors. Links to other sites are listed in build/site-links.txt and not followed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "build" / "site"
FETCHED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "link": "href"}
"""Attributes of tags whose address a browser fetches by itself."""
RELATED = {"index", "search", "next", "prev", "canonical"}
"""Values of rel of a <link> that fetch nothing."""
OF_SPHINX = ("genindex.html", "search.html")
"""Pages that Sphinx adds; the field of the search is on every page."""
CLICKS = 3
"""Most clicks from the first page to any page."""


@dataclass
class Page:
    """One page of the site: its links, what it fetches, the places in it that a link may name."""

    path: Path
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    places: set[str] = field(default_factory=set)


class _Reader(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__()
        self.page = page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.page.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.page.links.append(given["href"])
        elif tag in FETCHED and given.get(FETCHED[tag]) and given.get("rel") not in RELATED:
            self.page.fetched.append(given[FETCHED[tag]])


def build(site: Path = SITE) -> int:
    """Run Sphinx from nothing; returns its exit code."""
    shutil.rmtree(site, ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E", "-b", "html", "-c", "docs/site", "docs"]
    return subprocess.run([*command, str(site)], cwd=ROOT, check=False).returncode


def pages_of(site: Path) -> dict[Path, Page]:
    """All pages, by path."""
    found = {}
    for path in sorted(site.rglob("*.html")):
        found[path] = page = Page(path)
        _Reader(page).feed(path.read_text(encoding="utf-8"))
    return found


def problems(site: Path) -> list[str]:
    """Links that lead nowhere, what a page would fetch from elsewhere, pages that are too far from the first."""
    pages = pages_of(site)
    found = [problem for page in pages.values() for problem in _broken(page, pages, site)]
    found += [f"{page.path.relative_to(site)}: fetches {address} from another site"
              for page in pages.values() for address in page.fetched if is_elsewhere(address)]  # fmt: skip
    near = _near(site / "index.html", pages)
    return found + [f"{path.relative_to(site)}: more than {CLICKS} clicks from the first page"
                    for path in pages if path not in near and path.name not in OF_SPHINX]  # fmt: skip


def external_links(site: Path) -> list[str]:
    """Addresses of other sites that a reader may follow."""
    return sorted({link for page in pages_of(site).values() for link in page.links if is_elsewhere(link)})


def is_elsewhere(address: str) -> bool:
    """Whether an address names another host."""
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme in {"http", "https"}


def _broken(page: Page, pages: dict[Path, Page], site: Path) -> Iterator[str]:
    for link in [*page.links, *page.fetched]:
        if is_elsewhere(link) or urlsplit(link).scheme:
            continue
        target, place = _target(page, link)
        if not target.exists():
            yield f"{page.path.relative_to(site)}: {link} leads nowhere"
        elif place and target in pages and place not in pages[target].places:
            yield f"{page.path.relative_to(site)}: {link}: no such place on that page"


def _target(page: Page, link: str) -> tuple[Path, str]:
    path, place = urldefrag(link)
    named = unquote(urlsplit(path).path)
    return (page.path.parent / named).resolve() if named else page.path, unquote(place)


def _near(first: Path, pages: dict[Path, Page]) -> set[Path]:
    """Pages that CLICKS links lead to."""
    near = edge = {first}
    for _ in range(CLICKS):
        edge = {_target(pages[path], link)[0] for path in edge for link in pages[path].links if not is_elsewhere(link)}
        edge = (edge & pages.keys()) - near
        near = near | edge
    return near


def main() -> int:
    """Build, check, list; returns the exit code."""
    if code := build():
        return code
    found = problems(SITE)
    for line in found:
        print(line)
    (SITE.parent / "site-links.txt").write_text("".join(f"{link}\n" for link in external_links(SITE)), encoding="utf-8")
    print(f"{SITE.relative_to(ROOT)}/index.html; links to other sites: {SITE.parent.relative_to(ROOT)}/site-links.txt")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
