"""One module a format: how its files are written. What a format module has, `cdr_adapters.raw.ReaderModule` says.

The registry finds them by their file names and imports each when it is used, not before.
"""
