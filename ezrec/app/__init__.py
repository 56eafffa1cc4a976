"""Composition: settings in, wired services out. The only package that binds adapters to ports."""
