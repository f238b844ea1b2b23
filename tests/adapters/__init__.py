"""The adapters: files as switches write them, and what becomes of them."""
