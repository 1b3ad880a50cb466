"""The edge towards the stores: PostgreSQL first, CSV files beside it. Synchronous, so that notebooks like it."""
