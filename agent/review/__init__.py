"""Answers that wait for a person at the provider, and what the person decided."""
