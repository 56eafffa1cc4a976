"""What the headers of a resumable upload say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from ezrec.cloud.supabase.tus import _expires


@pytest.mark.parametrize("ahead", [timedelta(), timedelta(hours=3), timedelta(days=-400)])
def test_an_upload_ends_by_our_clock_whatever_the_servers_says(ahead: timedelta) -> None:
    now = datetime.now(UTC)
    there = now + ahead
    headers = {
        "date": format_datetime(there, usegmt=True),
        "upload-expires": format_datetime(there + timedelta(hours=1), usegmt=True),
    }
    ends = _expires(headers)
    assert ends is not None
    assert abs(ends - now - timedelta(hours=1)) < timedelta(seconds=5)


@pytest.mark.parametrize("said", ["", "soon", "Mon, 99 Foo 99999 99:99:99 GMT"])
def test_what_names_no_time_has_no_end(said: str) -> None:
    assert _expires({"date": format_datetime(datetime.now(UTC), usegmt=True), "upload-expires": said}) is None
