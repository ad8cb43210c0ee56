"""The ledger: records what each load did, in the same transaction as its rows.

The facts that prove which rows are committed (chunks, keys, counts, the final status) are written
over the load's own session, so they are committed or rolled back with the rows. Progress and
failures are written over Django's connection in the meantime.
"""
