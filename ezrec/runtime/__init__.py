"""What runs jobs: a worker for each stage, what wakes it, the supervisor of the processes, hooks."""
