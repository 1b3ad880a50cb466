"""Where collected candles go: PostgreSQL, CSV files, or both; the collector sees one thing that knows its coverage."""

from chandlery.services.outputs.both import BothOutputs
from chandlery.services.outputs.database import PostgresOutput
from chandlery.services.outputs.files import CsvOutput
from chandlery.services.outputs.output import Output

__all__ = ["BothOutputs", "CsvOutput", "Output", "PostgresOutput"]
