"""The groups of commands of `hopback-coordinator`, one module each, and what they share."""
