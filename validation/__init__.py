"""The whole life of stored candles, once, on real input: ``python -m validation``; docs/validation.md tells of it."""
