"""The watch over the providers' audit logs."""
