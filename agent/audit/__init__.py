"""The audit log of an agent: an append-only Merkle log (RFC 6962) of everything that was asked and answered."""
