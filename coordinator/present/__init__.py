"""Everything as people and programs see it."""
