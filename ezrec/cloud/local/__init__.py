"""The local backend: tables in one SQLite file, buckets as folders. No account, no network."""
