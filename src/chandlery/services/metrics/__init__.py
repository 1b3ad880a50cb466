"""What a running process tells of itself: figures for Prometheus, over HTTP or as a file."""
