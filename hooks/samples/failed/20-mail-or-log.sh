#!/bin/sh
# Says why a job needs a person, and what that person can do: by mail, or in the system log.
set -eu

# Write an address here to get mail; it needs the program `mail` (package bsd-mailx) and a way out for it.
mail_to=""

# job.json has one field a line, and those of the job itself are indented by one space.
record=$(cat)
field() {
	printf '%s\n' "$record" | sed -n "s/^ \"$1\": \"\(.*\)\",\{0,1\}\$/\1/p" | head -n 1 |
		sed 's/\\\(["\\/]\)/\1/g'
}
reason=$(field reason)
remedy=$(field remedy)
text="job $EZREC_JOB: ${reason:-no reason is recorded}; what to do: ${remedy:-ezrec spool show $EZREC_JOB}"

if [ -n "$mail_to" ] && command -v mail >/dev/null; then
	printf '%s\n' "$text" | mail -s "EZREC: job $EZREC_JOB needs you" "$mail_to"
else
	logger -t ezrec -p user.err -- "$text"
fi
