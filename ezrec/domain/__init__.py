"""What EZREC knows and decides: values in, values out. No I/O, no clock, no environment."""
