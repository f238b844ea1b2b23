"""Records where they already are: every store answers as the embedded index does."""
