"""How questions reach the providers' agents, and how their answers come back."""
