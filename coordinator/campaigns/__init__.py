"""Calls in bulk, and what their chains have in common."""
