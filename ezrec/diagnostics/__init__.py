"""Checks for a person: the doctor, the camera test, the demonstration."""
