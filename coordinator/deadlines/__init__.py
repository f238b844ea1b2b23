"""When an answer is due, when to remind and escalate, and what it means when none has come. Pure: no clock, no IO.

`holidays` (days off by rule), `calendar` (a provider's business calendar), `schedule` (the 24-hour rule and what hangs
on it), `standing` (waiting, delinquent, non-responsive: of one request), `cooperation` (the label non-cooperative: of a
provider, on stated metrics), `settings` (all of it from a configuration file).
"""
