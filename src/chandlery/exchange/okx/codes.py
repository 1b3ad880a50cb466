"""What OKX means when it does not answer: HTTP status and error code, translated once into our errors.

Errors come with HTTP 200 as well, so the code decides and the status only where there is no code.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from chandlery.errors import ExchangeError, ExchangeUnavailable, RateLimited, RequestRefused

OK = "0"
_TOO_FAST = frozenset({"50011", "50013", "50061"})
_FAILING = frozenset({"50001", "50004", "50005", "50026"})
_WHY_REFUSED = {
    "50030": "These data are not open to this account or region.",
    "50038": "Demo trading does not offer this; set demo = false to read production data.",
    "50047": "The contract has settled and its candles are no longer served under this name.",
    "50051": "OKX does not serve these data in this region; set base_url to the host of your region.",
    "50121": "OKX does not serve this IP address; set base_url to the host of your region, or use a proxy.",
    "51000": "One parameter is wrong; this is a fault of chandlery unless the symbol was mistyped.",
    "51001": "The instrument was delisted or never existed; look at the list of instruments.",
    "51014": "Candles of an index are served elsewhere; look at the list of instruments.",
    "51015": "The instrument is of another type; look at the list of instruments.",
}
_CHECK_HOST = "Check base_url, HTTPS_PROXY and whether OKX serves your region."
_QUOTED_LENGTH = 200


def refusal(status: int, code: str, message: str, retry_after_s: float | None = None) -> ExchangeError:
    """The error for an answer with ``code`` other than 0; ``message`` is OKX's own text."""
    said = f"OKX answered {quoted(code)} (HTTP {status}): {quoted(message)}."
    if code in _TOO_FAST or status == 429:
        return RateLimited(said, code=code, retry_after_s=retry_after_s)
    if code in _FAILING or status >= 500:
        return ExchangeUnavailable(said, code=code)
    return RequestRefused(said, hint=_WHY_REFUSED.get(code, ""), code=code)


def failure(status: int, retry_after_s: float | None = None) -> ExchangeError:
    """The error for an answer that carries no code at all, as proxies and content networks send them."""
    said = f"OKX answered HTTP {status} with something that is not its protocol."
    if status == 429:
        return RateLimited(said, retry_after_s=retry_after_s)
    if status < 300 or status >= 500 or status == 408:
        return ExchangeUnavailable(said, hint=_CHECK_HOST)
    return RequestRefused(said, hint=_CHECK_HOST)


def retry_after_s(header: str | None, now_s: float) -> float | None:
    """Seconds that a Retry-After header asks for, given as a number or as a date; None if it says nothing readable."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, OverflowError):
        return None


def quoted(text: str) -> str:
    """Foreign text, made printable and cut to a length fit for a message."""
    cut = text if len(text) <= _QUOTED_LENGTH else text[:_QUOTED_LENGTH] + "…"
    return "".join(char if char.isprintable() else "�" for char in cut)
