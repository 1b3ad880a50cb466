"""Charts without a browser: as characters for a terminal, as SVG for a notebook."""
