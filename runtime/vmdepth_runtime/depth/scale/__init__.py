"""Metres of networks that give none: as somebody says them, or as measured depth does."""
