"""The network between coordinator and agents, at its worst: every fault, both ways, at every stage of a call."""
