"""The operating system: durable writes, locks, clock, journal, gauges, child processes, timeouts."""
