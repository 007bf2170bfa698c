"""The paper's arithmetic compiled: faster, and never needed to understand the method.

What it computes stands in `functional` and `models`.
"""
