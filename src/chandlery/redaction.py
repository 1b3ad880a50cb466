"""Takes passwords out of text before a person or a log sees it."""

from __future__ import annotations

import re

MASK = "***"

# white space is what libpq takes for it: ASCII. A password may hold an unescaped @ or /, so a URL's reaches to the
# last @ of the word; masking too much harms nobody.
_IN_URL = re.compile(r"(?P<head>://[^\s:/@]*:)\S*@", re.ASCII)
_QUOTED = r"""'(?:\\.|[^'\\])*'?|"(?:\\.|[^"\\])*"?"""
_IN_CONNINFO = re.compile(
    rf"(?P<head>passw(?:or)?d\s*=\s*)(?:(?:{_QUOTED})(?:\\.|\S)*|(?:\\.|\S)+)", re.ASCII | re.IGNORECASE | re.DOTALL
)


def redact(text: str) -> str:
    """``text`` with the password of every URL and the value of every ``password=`` replaced by ``***``.

    Reads ``scheme://user:secret@host``, ``password=secret`` and ``password='a \\'quoted\\' secret'`` in any case, also
    as the end of a longer name such as ``sslpassword``. Masks rather too much than too little; masking twice changes
    nothing.
    """
    masked = _IN_URL.sub(rf"\g<head>{MASK}@", text)
    return _IN_CONNINFO.sub(rf"\g<head>{MASK}", masked)
