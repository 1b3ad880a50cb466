"""The browser's view of the store: one page with a chart and a coverage map, served read-only by this program."""
