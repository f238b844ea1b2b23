"""The heart: what a traceback is, what it does next, and why. Pure decisions, no input or output."""
