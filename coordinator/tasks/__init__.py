"""Tasks for people: what a provider without an agent, or one that holds its answers for review, is asked.

`task`, `answers`, `letters`, `tokens` decide and are pure; `desk` keeps tasks in the database, `outbox` and `smtp` send
letters, `ports` is what tracebacks know of all this.
"""
