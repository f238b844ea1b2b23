"""The coordinator's memory in a SQL database: tracebacks, hops with the exact bytes exchanged, the registry."""
