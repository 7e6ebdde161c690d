"""What lies under results/ and nothing refers to any more: found, listed, removed."""
