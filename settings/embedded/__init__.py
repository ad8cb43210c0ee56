"""A Django database backend with its own PostgreSQL, for development and tests.

Django loads `base`. `server` starts PostgreSQL and shares it between processes, `programs` runs the
wheel's programs, `folder` finds the folder for the files, and `watcher` stops the server. It works
on Linux and macOS.
"""
