"""Runnable comparisons with the tools users know, and the reports they wrote."""
