"""Chunks of one load that any process on any machine can load, each over its own connection."""
