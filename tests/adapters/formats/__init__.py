"""What each format reads, refuses and says: one module a format, with whole sample files of synthetic calls."""
