"""The cross-check against STIR/SHAKEN."""
