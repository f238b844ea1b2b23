"""Tracebacks under way: claimed, driven, handed over, many at once."""
