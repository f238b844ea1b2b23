"""The coordinator's own service for people and their programs, with roles."""
