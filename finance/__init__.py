"""Accounts and transactions of a finance tracker: an ordinary Django app that uses ingest."""
