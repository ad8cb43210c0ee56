"""The ledger's pen: what a load did is written in the transaction that has its rows.

What proves which rows are in (chunks, keys, counts, the end) goes over the load's own session and
stands or falls with the rows. What only tells how it goes (progress, a failure) goes over Django's
connection meanwhile.
"""
