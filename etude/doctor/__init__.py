"""`python -m etude doctor`: what is here, what is missing, and the command to get it."""
