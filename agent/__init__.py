"""The agent: searches one provider's own call detail records and names only the upstream hop."""
