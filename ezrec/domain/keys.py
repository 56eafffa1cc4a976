"""Names of buckets and objects are checked here, for every backend alike. No I/O.

A key becomes a path on the local backend and a URL on the other one: what passes here is safe as both.
"""

from __future__ import annotations

import re

from ezrec.domain.names import BadName, safe_id, shown

# The characters which the cloud's storage service takes. A key that only one backend could hold is no key.
_PART = re.compile(r"[A-Za-z0-9_!\-*'() &$@=;:+,?][A-Za-z0-9_!\-.*'() &$@=;:+,?]*")
_LONGEST_KEY = 900
# A file name may have 255 bytes; a writer needs some of them for the temporary name beside it.
_LONGEST_PART = 200


class InvalidKey(ValueError):
    """The bucket or key cannot name an object; the message says why, in one line."""


def object_parts(bucket: str, key: str) -> tuple[str, ...]:
    """The bucket and the parts of the key, fit to become a path; raises `InvalidKey`.

    No part begins with a dot: `..` leads out of the bucket, and hidden names are the writers' own.
    """
    try:
        safe_id(bucket)
    except BadName as fault:
        raise InvalidKey(f"not the name of a bucket: {fault}") from None
    if not key or len(key) > _LONGEST_KEY:
        raise InvalidKey(f"an object key has 1 to {_LONGEST_KEY} characters, not {len(key)}")
    parts = tuple(key.split("/"))
    for part in parts:
        if len(part) > _LONGEST_PART:
            raise InvalidKey(f"a part of the object key {shown(key)} is longer than {_LONGEST_PART}")
        if not _PART.fullmatch(part):
            raise InvalidKey(
                f"the object key {shown(key)} has the part {shown(part)}, which names nothing safe"
            )
    return (bucket, *parts)
