"""The figures that the README's goals speak of: `python -m tests.performance NAME`.

Each goal is a ratio of two ways to load the same rows, taken in turns in one run, each time in a
fresh process. docs/figures.md says what each figure is.
"""
