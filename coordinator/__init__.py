"""The coordinator: chains the agents' answers from the terminating provider back to the source."""
