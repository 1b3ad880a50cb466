"""A backup over a network: through TCP it is like any other, and one whose connection is lost is none."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from candles import candles, series
from chandlery.domain.instrument import Series
from chandlery.errors import DatabaseError
from chandlery.services.backup.create import create_backup
from chandlery.services.backup.shelf import Backup, Shelf
from chandlery.storage.client_programs import usual_folders
from chandlery.storage.database import Database
from chandlery.storage.delivery import Delivery
from chandlery.storage.fingerprints import OnSeries
from chandlery.storage.postgres import PostgreSQLStorage
from faults.servers import PrivateServer
from faults.world import World


@pytest.mark.parametrize("form", ["dump", "portable"])
def test_a_backup_whose_connections_end_is_none_and_the_next_is_whole(
    world: World, server: PrivateServer, tmp_path: Path, form: str
) -> None:
    batch = candles(series(), 100)
    with PostgreSQLStorage(world.conninfo) as storage:
        storage.writer.write([Delivery(batch=batch, covered=batch.runs())])
    shelf = Shelf(tmp_path)

    def back_up(on_series: OnSeries) -> Backup:
        with contextlib.closing(Database(world.conninfo)) as database:
            return create_backup(database, shelf, form=form, now=0, folders=usual_folders(), on_series=on_series)

    def end(_: Series) -> None:
        server.terminate_backends()

    with pytest.raises(DatabaseError):
        back_up(end)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert back_up(lambda _: None).manifest.candles == 100
