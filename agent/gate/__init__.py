"""May this question be answered at all? Decided before any record is read.

`envelope` takes what came as a coordinator's, `checks` says of each question whether its order and its naming permit
it, `limits` what this provider allows at most, `budgets` and `memory` what was asked before; `gate` brings them
together.
"""
