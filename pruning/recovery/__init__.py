"""Winning accuracy back after something was removed: losses and the loop that makes them small."""
