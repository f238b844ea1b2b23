"""From what people hand in to orders that are signed and approved."""
