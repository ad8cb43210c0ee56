"""Several worker processes share one load; each loads chunks over a connection of its own."""
