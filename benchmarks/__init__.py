"""Measurements of the ways into and out of PostgreSQL: ``python -m benchmarks``. No test depends on a speed."""
