"""What a chart and a coverage map show of the store: windows of candles, coverage in cells, the state of collection."""
