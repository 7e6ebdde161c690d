"""A collection of recordings before it is a corpus: cut into snippets, and captioned."""
