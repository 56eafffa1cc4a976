"""Cameras: one shared by all bookings in hand, its last seconds in memory, and the takes it writes."""
