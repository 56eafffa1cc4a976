"""The record stage: from arming the camera to the last second of a booking's window."""
