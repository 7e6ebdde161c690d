"""What the rules ask: which files a run makes, what a result depends on, what must be brought."""
