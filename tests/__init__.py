"""Tests. Their names are sentences; what they need lies in this directory, made when it is needed."""
