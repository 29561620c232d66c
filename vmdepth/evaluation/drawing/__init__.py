"""Figures and depth to look at: curves, contact sheets, tables for the terminal and films."""
