"""Runs inside a builder stage: looks before it compiles, compiles, and proves that torch stayed as it was.

The standard library only, Python 3.8 and later: it runs on whatever Python the torch in place has.
"""
