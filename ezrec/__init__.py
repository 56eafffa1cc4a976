"""EZREC records booked matches on a court camera and publishes them. See docs/architecture.md."""

__version__ = "0.2.0"
