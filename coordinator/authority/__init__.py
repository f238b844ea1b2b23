"""The issuing authority: who gets a certificate, for how long, and which ones no longer count."""
