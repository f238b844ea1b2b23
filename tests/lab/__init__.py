"""The lab: its generator, its files, its figures."""
