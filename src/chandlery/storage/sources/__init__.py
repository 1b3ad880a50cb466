"""Where candles of others come from: files, packed or not, and tables, read as blocks of text lines in flat memory."""
