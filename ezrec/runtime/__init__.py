"""What runs jobs: a worker for each stage, the threads and events that wake it, the recorder's supervisor,
hooks.
"""
