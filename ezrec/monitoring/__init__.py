"""Reports how the box is: snapshot, heartbeat, alerts, metrics, log archives; and guards the disk."""
