"""A network camera's address: which are taken, and what of one is secret."""

from __future__ import annotations

import pytest

from ezrec.domain.camera_address import checked, secrets_of, shown


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://10.0.0.9", "rtsp://cam.local:554/", "rtsp://cam//Streaming/Channels/101",
        "rtsp://admin@10.0.0.9/live", "rtsp://admin:@10.0.0.9/live", "rtsp://[fe80::1]:554/live",
        "rtsp://admin:%23%2F%3F%40%20@10.0.0.9/live", "rtsp://admin:a:b!$&'()*+,;=~@10.0.0.9/live",
        "rtsp://10.0.0.9/user=admin_password=x_channel=1_stream=0.sdp?real_stream",
        "rtsp://10.0.0.9:554/live?user=me@club.es", "rtsp://10.0.0.9/live#1",
    ],
)  # fmt: skip
def test_an_address_that_works_is_taken_as_it_is(address: str) -> None:
    assert checked(address) == address


def test_the_scheme_may_be_written_in_any_letters() -> None:
    assert checked("RTSP://Admin:Pass@CAM/Live") == "rtsp://Admin:Pass@CAM/Live"
    assert checked("RtspS://cam/") == "rtsps://cam/"


@pytest.mark.parametrize(
    "rest",
    [
        "admin:1#4@10.0.0.9/live", "admin:1/4@10.0.0.9/live", "admin:1?4@10.0.0.9/live",
        "admin:1?4@cam:554/live", "admin:x?4@cam/live", "ad/min:pw@cam/live", "admin:a@b@cam/live",
        "admin:p@ss/w0rd@cam/1", "admin:p w@cam/1", "admin:pw@cam/1\n", "admin:pw@", "admin:pw",
        "admin:pw@cam:port/live", "", ":554/x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["rtsp", "RTSPS"])
def test_one_that_does_not_say_where_its_host_begins_is_refused_with_what_to_write(
    scheme: str, rest: str
) -> None:
    with pytest.raises(ValueError, match="write # as %23, / as %2F, \\? as %3F, @ as %40") as raised:
        checked(f"{scheme}://{rest}")
    assert rest not in str(raised.value) or not rest


@pytest.mark.parametrize(
    ("address", "secrets"),
    [
        ("software", ()),
        ("v4l2:/dev/video0", ()),
        ("rtsp://10.0.0.9/live", ()),
        ("rtsp://admin:p%40ss@10.0.0.9/live", ("p@ss",)),
        ("RTSP://t0ken@10.0.0.9/live", ("t0ken",)),
        ("rtsp://a:b@c/d?channel=1&token=x%2Fy&authKey=z#f", ("b", "x/y", "z")),
    ],
)
def test_the_password_and_what_is_called_a_token_are_secret(address: str, secrets: tuple[str, ...]) -> None:
    assert secrets_of(address) == secrets


def test_even_an_address_that_cannot_be_read_is_shown_without_its_password() -> None:
    assert shown("rtsp://admin:hunter2@[10.0.0.9/live") == "rtsp://***"
