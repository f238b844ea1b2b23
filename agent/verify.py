"""``hopback-agent verify``: re-derives from the files of an index alone whether it is sound.

The manifest's log line by line, every page of every segment, dictionaries, translated numbers, statements of counts and
times, the set of files on disk, the secrets of the days; what is broken is named, with the files to index again.
"""
