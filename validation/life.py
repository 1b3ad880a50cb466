"""What the steps of a life share: the folder, the source, and the parties."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from validation.cluster import Cluster
from validation.commands import Chandlery
from validation.exchange import Exchange
from validation.source import COLLECTED, Source, find_source


@dataclass(slots=True, kw_only=True)
class Life:
    """Everything lies in ``folder``. ``known`` is what ``chandlery status`` said when the backup was made."""

    folder: Path
    source: Source
    chandlery: Chandlery
    cluster: Cluster
    exchange: Exchange
    known: dict[tuple[str, str], Any] = field(default_factory=dict)


@contextlib.contextmanager
def new_life() -> Iterator[Life]:
    """A folder that is deleted at the end, and a server in it that is stopped then."""
    folder = Path(tempfile.mkdtemp(prefix="chandlery-validation-"))
    folder.chmod(0o755)  # started by root, the server runs as another user, who must get there
    cluster = Cluster(folder / "data")
    try:
        source = find_source(folder)
        variables = {"CHANDLERY_DATA_FOLDER": str(cluster.folder), "CHANDLERY_BACKUP_FOLDER": str(folder / "backups")}
        exchange = Exchange(Chandlery(folder, variables), source.write(COLLECTED, folder, "parquet"))
        variables = variables | {"CHANDLERY_DATA_COLLECTION_BASE_URL": exchange.base_url}
        with contextlib.closing(exchange):
            yield Life(
                folder=folder,
                source=source,
                chandlery=Chandlery(folder, variables),
                cluster=cluster,
                exchange=exchange,
            )
    finally:
        cluster.destroy()
        shutil.rmtree(folder, ignore_errors=True)
