"""The adapter engineer's kit, behind `hopback-cdr`: see what a file holds, propose how to read it, hold it to that.

Decisions are pure and apart from what is shown; nothing in here knows an agent. What an agent's configuration says of
sources and trunks comes in through `kit.ports`.
"""
