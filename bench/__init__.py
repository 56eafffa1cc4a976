"""Measures of what EZREC promises, each against a floor: the least that the machine itself takes for it.

One module a measure. Each makes its own temporary directory, ends what it starts, and returns one `Result`.
A measure and its floor take turns, and medians count: other work on the machine then meets both alike.
"""
