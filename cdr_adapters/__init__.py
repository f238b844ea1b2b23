"""Call detail records as switches write them, turned into one canonical Arrow table."""
