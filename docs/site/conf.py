"""The site: Sphinx over the Markdown of docs/, as it stands. `make site` builds it.

The list of pages is docs/README.md's; a page that it lists is on the site, and no other list has to be kept.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pygments.lexers import TextLexer

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from hostsim import __version__  # noqa: E402  the package of this checkout

project, release, author = "hostsim", __version__, "The hostsim authors"
copyright = "2026, The hostsim authors"  # noqa: A001  Sphinx reads it under this name
extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "README"
exclude_patterns = ["site", "tools", "**/.*"]
myst_heading_anchors = 4
nitpicky = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
add_module_names = False
html_theme, html_title = "furo", f"hostsim {release}"
html_static_path, html_css_files, html_favicon = ["static"], ["site.css"], "static/hostsim.svg"
html_theme_options = {"navigation_with_keys": True}
html_copy_source = html_show_sourcelink = False
html_show_sphinx = False

HEADING = re.compile(r"^\*\*(?P<name>[^*]+)\*\*", re.MULTILINE)
ENTRY = re.compile(r"^- \[(?P<title>[^\]]+)\]\((?P<page>[^)#]+)\.md\)", re.MULTILINE)
OUTSIDE = re.compile(r"\[(?P<words>[^\]]+)\]\((?:\.\./)+(?P<path>[A-Z][\w./-]*)(?:#[\w-]+)?\)")
ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
NUMBER = re.compile(r"(?<=\d) (?=(?:%|[mun]?s|min|[kMGT]?i?B|[kMG]bit/s)(?![\w/]))")
"""The space between a number and its unit."""
AUTODOC = re.compile(r"^<!-- autodoc: (?P<kind>\w+) (?P<name>[\w.]+)(?P<options>[^>]*) -->$", re.MULTILINE)


def toctrees(text: str) -> str:
    """A table of contents for each group of docs/README.md, drawn in the margin alone."""
    parts = HEADING.split(text)[1:]
    trees = []
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        pages = "\n".join(f"{entry['title']} <{entry['page']}>" for entry in ENTRY.finditer(body))
        trees.append(f"```{{toctree}}\n:caption: {name}\n:hidden:\n\n{pages}\n```\n")
    return "\n".join(trees)


def joined(row: str) -> str:
    """A row of a table in which a number and its unit stay on one line; text within backticks is left alone."""
    parts = row.split("`")
    return "`".join([NUMBER.sub("\u00a0", part) if number % 2 == 0 else part for number, part in enumerate(parts)])


def autodoc_block(match: re.Match[str]) -> str:
    """The reference of a name from its docstring, in place of the comment that a plain reader of the page does not see."""
    options = "".join(f"   :{option}:\n" for option in match["options"].split())
    return f"```{{eval-rst}}\n.. auto{match['kind']}:: {match['name']}\n{options}```"


def read(_app: Sphinx, page: str, source: list[str]) -> None:
    """Add tables of contents and references to a page; a file that is no page of the site is named, not linked."""
    text = OUTSIDE.sub(r"\g<words> (`\g<path>`)", ROW.sub(lambda row: joined(row[0]), source[0]))
    if page == root_doc:
        text += "\n" + toctrees(text)
    source[0] = AUTODOC.sub(autodoc_block, text)


ITEM = re.compile(r"(?:[a-z_]\w*(?:, [a-z_]\w*)*: |[A-Z]\w+Error\b)")


def docstring(_app: Sphinx, _what: str, _name: str, _it: Any, _options: Any, lines: list[str]) -> None:
    """Parameters as a list: hostsim writes one a line, which reStructuredText would run together."""
    found: list[str] = []
    in_list = False
    for line in lines:
        is_item = ITEM.match(line) is not None
        found += [""] if is_item and not in_list else []
        in_list = bool(line) and (is_item or in_list)
        found.append(f"* {line}" if is_item else f"  {line}" if in_list else line)
    lines[:] = found


def signature(_app: Sphinx, _what: str, name: str, *_others: Any) -> tuple[str, str] | None:
    """A scenario is made of keys, which have a page of their own: the types of all of them are no signature to read."""
    return ("(**keys)", "") if name.endswith(".Scenario") else None


def copy_index(app: Sphinx, error: Exception | None) -> None:
    """index.html is the first page: it is what a server shows for the folder."""
    if error is None and app.builder.format == "html":
        first = Path(app.outdir) / "index.html"
        first.write_bytes((Path(app.outdir) / f"{root_doc}.html").read_bytes())


def setup(app: Sphinx) -> None:
    """Connect what the site adds."""
    app.add_lexer("csv", TextLexer)
    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", docstring)
    app.connect("autodoc-process-signature", signature)
    app.connect("build-finished", copy_index)
