"""Withdrawal: what knew a file whose owner took the consent back is deleted."""
