"""Loads that are disturbed in every way: in the tests a few of each, as a long run all of them.

`python -m tests.chaos --help` says what the long run takes. `proxy` stands between the loader and
PostgreSQL, `server` is a PostgreSQL to kill, `client` the loader as a process, `ground` the file
and what must be in the table, `faults` and `steps` what goes wrong, `trying` one try with its
verdict.
"""
