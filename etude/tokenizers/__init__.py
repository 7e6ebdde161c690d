"""Audio to discrete tokens and back: one interface for each kind, several members."""
