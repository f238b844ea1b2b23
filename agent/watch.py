"""``hopback-agent watch``: follows every source of the configuration and keeps the index up with it.

Directories, files that grow or are rotated, SFTP servers and object stores; what is readable is indexed, partial last
lines wait, one broken file doesn't stop the others, and a full disk is said and survived.
"""
