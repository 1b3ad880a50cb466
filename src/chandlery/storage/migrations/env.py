"""Run by alembic: applies revisions on the connection that ``storage.schema`` hands over."""

from alembic import context

from chandlery.storage.migrations import SCHEMA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    version_table_schema=SCHEMA,
)
context.run_migrations()
