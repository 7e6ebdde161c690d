"""Tables, figures and the listening page."""
