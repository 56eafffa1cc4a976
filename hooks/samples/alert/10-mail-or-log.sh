#!/bin/sh
# Says that an alert was raised, or is over: by mail, or in the system log.
set -eu

# Write an address here to get mail; it needs the program `mail` (package bsd-mailx) and a way out for it.
mail_to=""

# The alert comes as JSON with one field a line.
record=$(cat)
field() {
	printf '%s\n' "$record" | sed -n "s/^ \"$1\": \"\(.*\)\",\{0,1\}\$/\1/p" | head -n 1 |
		sed 's/\\\(["\\/]\)/\1/g'
}
text="$EZREC_ALERT $EZREC_STATE: $(field message); what to do: $(field remedy)"

if [ -n "$mail_to" ] && command -v mail >/dev/null; then
	printf '%s\n' "$text" | mail -s "EZREC: $EZREC_ALERT $EZREC_STATE" "$mail_to"
else
	logger -t ezrec -p user.warning -- "$text"
fi
