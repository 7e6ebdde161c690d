"""Networks that somebody else trained: fetching, converting, proving, loading."""
