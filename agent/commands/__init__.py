"""The commands of `hopback-agent` that take more than a few lines, with what they print; `frame` is common to all."""
