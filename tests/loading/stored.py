"""What is in the table."""

from finance.models import Transaction


def references():
    """Return the numbers of the transactions R1, R2 … that are stored."""
    rows = Transaction.objects.values_list("reference", flat=True)
    return sorted(int(reference[1:]) for reference in rows)
