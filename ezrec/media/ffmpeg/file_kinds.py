"""What a file is that cannot be used, by its first bytes, and the one command that makes a usable one of it.

Pure: the bytes go in, words come out. Whether a file is taken is not decided here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from ezrec.domain.names import shown

HEAD = 512  # bytes that are looked at


_LONG = {"jpg": "jpeg", "mkv": "matroska", "h264": "h.264", "svgz": "svg", "html": "web page"}


class Sort(Enum):
    """What can be made of it."""

    STREAM = "stream"  # video in a container that MP4 can replace, without encoding it
    VIDEO = "video"
    PICTURE = "picture"
    ANIMATION = "animation"
    WEBP_ANIMATION = "animation in WebP"
    DRAWING = "drawing"
    PAGES = "pages"
    PHONE_PHOTO = "photo of a phone"
    SOUND = "sound"
    DOWNLOAD = "a failed download"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file, as people call it."""

    name: str
    sort: Sort

    def is_called(self, suffix: str) -> bool:
        """Whether a file's name tells what it is, or tells nothing."""
        said = suffix.lower().removeprefix(".")
        return _LONG.get(said, said) in self.name.lower()


def _begins(*magics: bytes, at: int = 0) -> Callable[[bytes], bool]:
    return lambda head: head[at:].startswith(magics)


def _is_transport_stream(head: bytes) -> bool:
    return any(
        head[at : at + 1] == head[at + step : at + step + 1] == b"G" for at, step in ((0, 188), (4, 192))
    )


def _is_webp_animation(head: bytes) -> bool:
    return head[8:16] == b"WEBPVP8X" and bool(head[20:21]) and bool(head[20] & 2)


def _first_unit(head: bytes) -> bytes:
    """The first unit of a byte stream, as H.264 and H.265 are written without a container."""
    match = re.match(rb"\0{2,3}\x01", head)
    return head[match.end() :] if match else b""


# What such a stream begins with: parameter sets, a delimiter, or a remark of the encoder's.
_H264, _H265 = (b"\x67", b"\x27", b"\x47", b"\x09", b"\x06"), (b"\x40", b"\x42", b"\x46", b"\x4e")
_RIFF = {b"AVI ": FileKind("an AVI video", Sort.VIDEO), b"WAVE": FileKind("a sound file (WAV)", Sort.SOUND)}
_BRANDS: tuple[tuple[tuple[bytes, ...], FileKind], ...] = (
    ((b"heic", b"heix", b"mif1", b"hevc"), FileKind("a HEIC photo", Sort.PHONE_PHOTO)),
    ((b"avif", b"avis"), FileKind("an AVIF picture", Sort.PICTURE)),
)
_KINDS: tuple[tuple[Callable[[bytes], bool], FileKind], ...] = (
    (_is_transport_stream, FileKind("MPEG-TS", Sort.STREAM)),
    (_begins(b"\0\0\x01\xba"), FileKind("MPEG-PS", Sort.STREAM)),
    (lambda head: _first_unit(head).startswith(_H264), FileKind("raw H.264", Sort.STREAM)),
    (lambda head: _first_unit(head).startswith(_H265), FileKind("raw H.265", Sort.STREAM)),
    (_begins(b"\x1a\x45\xdf\xa3"), FileKind("Matroska or WebM", Sort.STREAM)),
    (_begins(b"FLV\x01"), FileKind("a Flash video", Sort.STREAM)),
    (_begins(b"\x30\x26\xb2\x75"), FileKind("a Windows Media video", Sort.VIDEO)),
    (_is_webp_animation, FileKind("a WebP animation", Sort.WEBP_ANIMATION)),
    (_begins(b"WEBP", at=8), FileKind("a WebP picture", Sort.PICTURE)),
    (_begins(b"GIF8"), FileKind("a GIF", Sort.ANIMATION)),
    (_begins(b"\x89PNG"), FileKind("a PNG picture", Sort.PICTURE)),
    (_begins(b"\xff\xd8\xff"), FileKind("a JPEG picture", Sort.PICTURE)),
    (_begins(b"II*\0", b"MM\0*"), FileKind("a TIFF picture", Sort.PICTURE)),
    (_begins(b"8BPS"), FileKind("a Photoshop file", Sort.PICTURE)),
    (_begins(b"BM"), FileKind("a BMP picture", Sort.PICTURE)),
    (_begins(b"%PDF", b"%!PS"), FileKind("a PDF or PostScript file", Sort.PAGES)),
    (_begins(b"ID3", b"\xff\xfb", b"\xff\xf3"), FileKind("a sound file (MP3)", Sort.SOUND)),
    (_begins(b"OggS"), FileKind("an Ogg file", Sort.VIDEO)),
    (_begins(b"PK\x03\x04"), FileKind("a ZIP archive", Sort.OTHER)),
    (_begins(b"#EXTM3U"), FileKind("a playlist, which holds no video itself", Sort.OTHER)),
)  # fmt: skip
_TEXTS: tuple[tuple[str, FileKind], ...] = (
    ("<svg", FileKind("an SVG drawing", Sort.DRAWING)),
    ("<html", FileKind("a web page", Sort.DOWNLOAD)),
    ("<!doctype html", FileKind("a web page", Sort.DOWNLOAD)),
)


def recognised(head: bytes) -> FileKind | None:
    """The kind that the first `HEAD` bytes show, or None."""
    if head[:4] == b"RIFF" and (found := _RIFF.get(head[8:12])):
        return found
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        named = (kind for brands, kind in _BRANDS if brand in brands)
        return next(named, FileKind("an MP4 or MOV video", Sort.VIDEO))
    found = next((kind for matches, kind in _KINDS if matches(head)), None)
    if found is not None:
        return found
    text = head.decode("latin-1").lower()
    return next((kind for word, kind in _TEXTS if word in text), None) or _plain(head)


def _plain(head: bytes) -> FileKind | None:
    if head and not head.strip(b"\0"):
        return FileKind("a file of zeros", Sort.DOWNLOAD)
    if head.lstrip()[:1] == b"{":
        return FileKind("a JSON text", Sort.DOWNLOAD)
    return None


def cure(kind: str, found: FileKind, name: str) -> str:
    """What to do with a file so that it can be used as `kind`: a recording, an intro or a logo."""
    stem = name.rsplit(".", 1)[0] or name
    source, made = _word(name), _word(f"{stem}-usable")
    if found.sort is Sort.DOWNLOAD:
        return "it was not transferred as it should: fetch it once more"
    ways = _AS_LOGO if kind == "logo" else _AS_VIDEO
    way = ways.get(found.sort, "")
    if kind == "recording" and found.sort not in (Sort.STREAM, Sort.VIDEO):
        way = ""
    return way.format(source=source, made=made)


_AS_VIDEO = {
    Sort.STREAM: "ffmpeg -i {source} -c copy -c:a aac {made}.mp4",
    Sort.VIDEO: "ffmpeg -i {source} -pix_fmt yuv420p {made}.mp4",
    Sort.ANIMATION: "ffmpeg -i {source} -pix_fmt yuv420p {made}.mp4",
    Sort.PICTURE: "ffmpeg -loop 1 -i {source} -t 5 -pix_fmt yuv420p {made}.mp4",
}
_AS_LOGO = {
    Sort.STREAM: "ffmpeg -i {source} -frames:v 1 {made}.png",
    Sort.VIDEO: "ffmpeg -i {source} -frames:v 1 {made}.png",
    Sort.ANIMATION: "ffmpeg -i {source} -frames:v 1 {made}.png",
    Sort.PICTURE: "ffmpeg -i {source} -frames:v 1 {made}.png",
    Sort.WEBP_ANIMATION: "webpmux -get frame 1 {source} -o {made}.webp",
    Sort.DRAWING: "rsvg-convert -w 800 {source} -o {made}.png",
    Sort.PAGES: "pdftoppm -png -r 150 -singlefile {source} {made}",
    Sort.PHONE_PHOTO: "heif-convert {source} {made}.png",
}


def smaller(kind: str, name: str, most: int) -> str:
    """For a picture that is too large: a size that is always enough."""
    suffix = "png" if kind == "logo" else "mp4"
    stem = name.rsplit(".", 1)[0] or name
    size = "1000:-1" if kind == "logo" else "1920:-2"
    return (
        f"make it smaller than {most} pixels a side: "
        f"ffmpeg -i {_word(name)} -vf scale={size} {_word(f'{stem}-usable.{suffix}')}"
    )


def _word(name: str) -> str:
    """A file's name as it can be typed in a command."""
    plain = re.fullmatch(r"[A-Za-z0-9._/+-]+", name) is not None and not name.startswith("-")
    return name if plain else shown(name)
