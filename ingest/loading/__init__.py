"""A load, from the call to its result."""
