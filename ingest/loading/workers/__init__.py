"""Chunks of one load that any process on any machine loads, each over a connection of its own."""
