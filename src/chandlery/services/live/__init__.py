"""Recording candles as the exchange pushes them, and healing what it did not push."""
