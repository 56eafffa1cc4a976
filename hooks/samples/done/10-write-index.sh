#!/bin/sh
# Adds a line to EZREC_HOME/published.tsv for every published video: time, job, file.
# Needs nothing but POSIX tools. Jobs that ended without a video (missed, cancelled, logs) leave no line.
set -eu

# The entry was EZREC_HOME/spool/<directory>/<job>. It is gone by now; its path still says where home is.
home=${EZREC_ENTRY%/*/*/*}
index=$home/published.tsv

# job.json has one field a line, and those of the job itself are indented by one space.
record=$(cat)
field() { printf '%s\n' "$record" | sed -n "$1" | head -n 1; }
outcome=$(field 's/^ "outcome": "\([a-z]*\)".*/\1/p')
file=$(field 's/^ "published_as": "\(processed_[A-Za-z0-9._-]*\)".*/\1/p') # where its own name was taken
[ -n "$file" ] || file=$(field 's/^ *"file": "\(processed_[A-Za-z0-9._-]*\)".*/\1/p')

[ "$outcome" = published ] && [ -n "$file" ] || exit 0

# One short write at the end of the file: lines of two hooks at once do not mix.
printf '%s\t%s\t%s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$EZREC_JOB" "$file" >>"$index"
