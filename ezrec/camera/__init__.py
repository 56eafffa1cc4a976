"""The outside world behind the ports. Only `app.py` chooses among these."""
