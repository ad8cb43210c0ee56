"""A Django database backend with a PostgreSQL of its own, for development and tests.

`base` is what Django looks for; `server` starts PostgreSQL and shares it between processes;
`programs` runs the wheel's programs; `folder` says where the files are; `watcher` stops the server.
Linux and macOS.
"""
