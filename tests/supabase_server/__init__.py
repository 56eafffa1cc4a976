"""A Supabase project on loopback for the tests: real PostgreSQL, the real TUS engine. See README.md."""
