"""Figures: scripts that measure, run as `python -m tests.figures.NAME`."""
