"""STIR/SHAKEN as a cross-check: what the Identity header of a call claims, held against the chain that was found.

`passport` reads, `certificates` verifies, `revocation` reads the STI-PA's list, `crosscheck` compares; all four are
pure. `book` keeps headers and signers' certificates, `examiner` brings everything together. Nothing in here is asked,
or imported, by what makes chains.
"""
