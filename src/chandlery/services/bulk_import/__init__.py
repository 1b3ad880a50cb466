"""Candles that others collected, from files and tables into PostgreSQL: judged, counted, and compared if wanted."""
