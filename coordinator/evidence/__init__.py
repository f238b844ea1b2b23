"""Evidence bundles: one finished traceback in one file, verified by anybody, without store and network."""
