"""Bookings and branding in: fetched, compared with what is known, handed to the recorder by way of
`incoming/`.
"""
