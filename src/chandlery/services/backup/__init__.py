"""Backups: made while collecting goes on, proved by restoring them, and brought back into an empty database."""
