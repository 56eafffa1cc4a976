"""What goes wrong on the way to the cloud, made to go wrong."""
