"""A text as its program wrote it: without what terminals, mail programs, web pages and word processors do to its signs."""

from __future__ import annotations

import html
import re

COLOUR = re.compile(
    r"(?:\x1b|\u241b|\^\[|#033|\\u001[bB]|\\x1[bB]|\\033|\\e)\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\n]*\x07|\x1b[()][A-Z0-9]"
)
"""Of a terminal: the sign ESC itself, or as an editor, rsyslog, a web page and JSON write it."""
ESCAPES = ("\x1b", "\u241b", "^[", "#033", "\\u001", "\\x1", "\\033", "\\e[")
ENTITY = re.compile(r"&(?:quot|lt|gt|amp|apos|nbsp|#\d{2,4}|#x[0-9a-fA-F]{2,4});")
BREAK = re.compile(r"(?:<br ?/?>|</(?:tr|li|p)>)(?!\s*\n)", re.IGNORECASE)
CELLS = re.compile(r"</t[dh]>\s*<t[dh]\b[^<>\n]{0,200}>", re.IGNORECASE)
TAG = re.compile(r"</?(?:pre|code|p|br|div|span|tt|td|th|tr|table|tbody|thead|li|ul|samp)\b[^<>\n]{0,200}>", re.IGNORECASE)
CURVED = ("\u201c", "\u201d", "\u201e")
NO_SIGNS = ("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff")
SPACES = ("\u00a0", "\u2007", "\u2009", "\u202f")
SIGNS = str.maketrans(
    dict.fromkeys(CURVED, '"') | {"\u2018": "'", "\u2019": "'"} | dict.fromkeys(NO_SIGNS, "") | dict.fromkeys(SPACES, " ")
)
GROUPED = re.compile(rf"(?<=\d)[{''.join(SPACES)}](?=\d{{3}}(?!\d))")
"""Between thousands, as the locales of French, Czech and others print them."""
QUOTED_SIGN = re.compile(r"=([0-9A-F]{2})")
SOFT_BREAK = re.compile(r"(?<=.{40})=\n")
ENDS_MIN = 3
PLAIN_SIGN = re.compile(r"=(?![0-9A-F]{2}|\n)")


def as_typed(text: str) -> str:
    """``text`` with plain quotes and spaces, without colours, tags and entities of HTML, and a mail's quoted-printable."""
    text = _of_mail(COLOUR.sub("", text) if any(sign in text for sign in ESCAPES) else text)
    text = TAG.sub("", BREAK.sub("\n", CELLS.sub(" | ", text))) if "<" in text else text
    text = html.unescape(text) if "&" in text and ENTITY.search(text) else text
    return text if text.isascii() else GROUPED.sub("", text).translate(SIGNS)


def _of_mail(text: str) -> str:
    """Quoted-printable, as the source of a mail has it: ``=3D`` for each ``=``, and long lines cut behind a ``=``."""
    if "=" not in text:
        return text
    ends = len(SOFT_BREAK.findall(text)) + text.count("=20\n")
    if "=3D" not in text and (PLAIN_SIGN.search(text) or ends < ENDS_MIN):
        return text
    return QUOTED_SIGN.sub(lambda sign: chr(int(sign.group(1), 16)), text.replace("=\n", ""))
