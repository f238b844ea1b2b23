"""Measurements against named peers in the same run; a figure without its peer is no figure."""
