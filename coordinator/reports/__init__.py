"""What many chains say together: figures, tables, and the reading of them."""
