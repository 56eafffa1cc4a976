"""What timers do: sync the bookings, tell the statuses, send the heartbeat, collect the logs.

Each is a plain callable that does its thing once. What must survive is in the spool or in the booking
cache before anybody is told; a pulse that fails is simply due again.
"""
