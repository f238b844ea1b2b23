"""A whole industry in one process: the real coordinator over a seeded clock, network and providers."""
