"""What tells how the box is: the snapshot, the heartbeat, alerts, metrics, log archives; and the disk
guard.
"""
