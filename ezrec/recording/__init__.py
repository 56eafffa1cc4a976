"""What a stage does with one job. Plain functions; their keyword parameters are their ports."""
