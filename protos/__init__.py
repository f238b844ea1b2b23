"""The contract that a provider's agent and the coordinator share: messages, values, numbers, identities."""
