"""The process stage: takes become one finished video, with the club's intro before it and its logo over
it.
"""
