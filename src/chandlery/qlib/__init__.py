"""Qlib reads PostgreSQL directly, with the same numbers as from an exported folder.

    import chandlery.qlib
    from qlib.data import D

    chandlery.qlib.init("postgresql://user@host/database")
    D.features(["BTC-USDT"], ["$close", "Mean($close, 24)"], freq="60min")

Qlib is not installed with chandlery: ``pip install pyqlib``. What Qlib sees is what was stored when ``init`` was
called, because it keeps calendars for the life of its process; call it again to see more.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chandlery.errors import ConfigurationError
from chandlery.qlib.source import QlibSource

__all__ = ["init"]

_NOWHERE = "/nonexistent/chandlery-reads-postgresql"
"""Qlib wants a folder's name and looks into it only for caches that are off."""


def init(
    dsn: str,
    *,
    exchange: str | None = None,
    symbols: Sequence[str] = (),
    timeframes: Sequence[str] = (),
    since: object = None,
    until: object = None,
    **qlib_options: Any,
) -> None:
    """Call ``qlib.init`` so that calendars, instruments and values come from the database ``dsn`` names.

    The others narrow down what Qlib sees, as ``chandlery export qlib`` does; empty means all. ``since`` and ``until``
    also shorten the calendars, which matters for years of 1min. ``qlib_options`` go to ``qlib.init``; the defaults are
    ``region="us"``, ``kernels=1`` and ``trade_unit=None``, which allows fractions of a coin, and an experiment manager
    that keeps runs in ``mlruns.db`` here, because recent mlflow refuses Qlib's own default.

    Raises ConfigurationError without Qlib, DataNotFoundError if nothing is stored, DatabaseError.
    """
    qlib = _installed_qlib()
    source = QlibSource.opened(dsn, exchange, symbols, timeframes, since, until)
    defaults = {"provider_uri": _NOWHERE, "region": "us", "kernels": 1, "trade_unit": None, **_experiments()}
    qlib.init(**{**defaults, **qlib_options}, **_providers(source))


def _installed_qlib() -> Any:
    try:
        import qlib
    except ImportError as error:
        raise ConfigurationError("Qlib is not installed in this environment.", hint="pip install pyqlib") from error
    return qlib


def _providers(source: QlibSource) -> dict[str, Any]:
    """Qlib's own providers, each with one of our stores behind it."""
    return {
        f"{kind.lower()}_provider": {
            "class": f"Local{kind}Provider",
            "module_path": "qlib.data.data",
            "kwargs": {
                "backend": {
                    "class": f"Postgres{kind}Storage",
                    "module_path": "chandlery.qlib.stores",
                    "kwargs": {"source": source},
                }
            },
        }
        for kind in ("Calendar", "Instrument", "Feature")
    }


def _experiments() -> dict[str, Any]:
    if os.environ.get("MLFLOW_ALLOW_FILE_STORE"):
        return {}  # somebody chose Qlib's own way
    uri = f"sqlite:///{Path.cwd() / 'mlruns.db'}"
    kwargs = {"uri": uri, "default_exp_name": "Experiment"}
    return {"exp_manager": {"class": "MLflowExpManager", "module_path": "qlib.workflow.expm", "kwargs": kwargs}}
