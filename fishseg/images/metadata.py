"""An image file without what it says beside its pixels, and which way up they are.

Cameras, telephones and editors write EXIF blocks, texts, thumbnails and colour profiles, some of
them odd or damaged. Decoders read them all and refuse whole pictures for them. So they are taken
out before: a decoder sees the pixels and what decides over these, and the one thing wanted of the
rest, the orientation, is read here. No byte of pixel data is touched.
"""

from __future__ import annotations

import dataclasses
import re
import struct

UPRIGHT = 1
ORIENTATION = 0x0112
_BIG_TIFF = 43
# TIFF's whole-number types that an orientation may have been written in, and how to read them.
_WHOLE_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
# TIFF's fields that say what the pixels are and where. Beside the baseline: options of fax,
# predictor, tiles, extra samples, sample format, JPEG tables, YCbCr.
_PIXEL_FIELDS = frozenset(
    {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320}
    | {322, 323, 324, 325, 332, 338, 339, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521}
    | {529, 530, 531, 532}
)
# Markers without a length: stuffing, TEM, RST0 to RST7, SOI.
_BARE_MARKERS = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
_PLAIN_JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
_ADOBE_BYTES = 12  # of its segment, up to the byte that says how colours are coded


def without_metadata(data: bytes) -> tuple[bytes, int]:
    """The bytes of an image file without metadata, and its orientation.

    Of JPEG, PNG, WebP, TIFF, HEIC and AVIF; other files come back as they are. So does a file from
    the place on where it is not built as its format wants it: whether it is damaged, the decoder
    says.

    Returns:
        The file, and the EXIF orientation 1 to 8, 1 where there is none or no sound one. Of HEIC
        and AVIF it is always 1: they are turned by a box of their own, which stays, whatever their
        EXIF block says (ISO/IEC 23008-12, 6.5.10).
    """
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _tiff(data)
    if data[4:8] == b"ftyp":
        return _heif(data), UPRIGHT
    return data, UPRIGHT


def exif_orientation(block: bytes) -> int:
    """The orientation in an EXIF block, 1 to 8; 1 where it has none that can be read."""
    block = block.removeprefix(b"Exif\0\0")
    layout = _TiffLayout.of(block)
    if layout is None:
        return UPRIGHT
    for start in layout.fields(block):
        tag, kind = struct.unpack_from(layout.order + "HH", block, start)
        (count,) = struct.unpack_from(layout.order + layout.offset_format, block, start + 4)
        if tag == ORIENTATION:
            if kind not in _WHOLE_NUMBERS or count != 1:
                return UPRIGHT
            value = start + 4 + struct.calcsize(layout.offset_format)
            (found,) = struct.unpack_from(layout.order + _WHOLE_NUMBERS[kind], block, value)
            return int(found) if 1 <= found <= 8 else UPRIGHT
    return UPRIGHT


def _jpeg(data: bytes) -> tuple[bytes, int]:
    kept, orientation = [data[:2]], None
    start = 2
    while start + 4 <= len(data) and data[start] == 0xFF:
        marker = data[start + 1]
        if marker == 0xFF:  # fill byte
            start += 1
            continue
        length = int.from_bytes(data[start + 2 : start + 4], "big")
        end = start + 2 + length
        # From the start of the scan on there is nothing but pixels.
        if marker in _BARE_MARKERS or marker in (0xD9, 0xDA) or length < 2 or end > len(data):
            break
        content = data[start + 4 : end]
        if marker == 0xE1 and content.startswith(b"Exif\0") and orientation is None:
            orientation = exif_orientation(content[6:])
        elif marker == 0xE0 and content.startswith(b"JFIF\0"):
            kept.append(_PLAIN_JFIF)  # says how colours are coded by being there
        elif marker == 0xEE and content.startswith(b"Adobe"):
            kept += [data[start:end]] if len(content) >= _ADOBE_BYTES else []
        elif not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(data[start:end])
        start = end
    return b"".join([*kept, data[start:]]), orientation or UPRIGHT


def _png(data: bytes) -> tuple[bytes, int]:
    kept, orientation = [data[:8]], None
    start = 8
    while start + 12 <= len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        name = data[start + 4 : start + 8]
        end = start + 12 + length
        if end > len(data) or not name.isalpha():
            break
        if name == b"eXIf" and orientation is None:
            orientation = exif_orientation(data[start + 8 : end - 4])
        elif name[0:1].isupper() or name == b"tRNS":
            kept.append(data[start:end])
        start = end
        if name == b"IEND":
            break
    return b"".join([*kept, data[start:]]), orientation or UPRIGHT


def _webp(data: bytes) -> tuple[bytes, int]:
    kept, orientation = [], None
    start = 12
    while start + 8 <= len(data):
        name = data[start : start + 4]
        length = int.from_bytes(data[start + 4 : start + 8], "little")
        end = start + 8 + length + length % 2
        if start + 8 + length > len(data):
            break
        content = data[start + 8 : start + 8 + length]
        if name == b"EXIF" and orientation is None:
            orientation = exif_orientation(content)
        elif name == b"VP8X" and content:
            # Its flags promise a profile, EXIF and XMP; those of animation and alpha stay.
            flags = content[0] & ~(0x20 | 0x08 | 0x04)
            kept.append(data[start : start + 8] + bytes([flags]) + data[start + 9 : end])
        elif name in (b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"):
            kept.append(data[start:end])
        start = end
    body = b"WEBP" + b"".join([*kept, data[start:]])
    if start < len(data):
        return data, orientation or UPRIGHT
    return b"RIFF" + struct.pack("<I", len(body)) + body, orientation or UPRIGHT


def _tiff(data: bytes) -> tuple[bytes, int]:
    """The first page alone; its list of fields is rewritten in place, so that nothing moves."""
    layout = _TiffLayout.of(data)
    fields = layout.fields(data) if layout else range(0)
    if layout is None or not fields:
        return data, UPRIGHT
    kept = [
        data[start : start + fields.step]
        for start in fields
        if struct.unpack_from(layout.order + "H", data, start)[0] in _PIXEL_FIELDS
    ]
    n_kept = struct.pack(layout.order + layout.count_format, len(kept))
    no_next_page = bytes(struct.calcsize(layout.offset_format))
    page = b"".join([n_kept, *kept, no_next_page])
    begin = fields.start - len(n_kept)
    return data[:begin] + page + data[begin + len(page) :], exif_orientation(data)


@dataclasses.dataclass(frozen=True)
class _TiffLayout:
    """How a TIFF or BigTIFF file, or an EXIF block, writes its numbers, and where they begin."""

    order: str
    offset_format: str
    count_format: str
    first_page: int

    @classmethod
    def of(cls, data: bytes) -> _TiffLayout | None:
        order = {b"II": "<", b"MM": ">"}.get(data[:2])
        if order is None or len(data) < 16:
            return None
        (version,) = struct.unpack_from(order + "H", data, 2)
        if version == _BIG_TIFF:
            return cls(order, "Q", "Q", struct.unpack_from(order + "Q", data, 8)[0])
        # Writers of EXIF blocks are not strict with the 42, and readers do not ask.
        return cls(order, "I", "H", struct.unpack_from(order + "I", data, 4)[0])

    def fields(self, data: bytes) -> range:
        """Where each field of the first page begins, as many as lie within the data."""
        if self.first_page + struct.calcsize(self.count_format) > len(data):
            return range(0)
        (n_fields,) = struct.unpack_from(self.order + self.count_format, data, self.first_page)
        start = self.first_page + struct.calcsize(self.count_format)
        size = 4 + 2 * struct.calcsize(self.offset_format)
        n_whole = min(n_fields, (len(data) - start) // size)
        return range(start, start + n_whole * size, size)


def _heif(data: bytes) -> bytes:
    """Items of EXIF and XMP get types that no decoder knows; nothing moves."""
    # ItemInfoEntry, ISO/IEC 14496-12, 8.11.6: version 2 or 3, flags, item id, protection, type.
    entry = re.compile(rb"(infe(?:\x02.{3}.{2}|\x03.{3}.{4}).{2})(?:Exif|mime)", re.DOTALL)
    begin = data.find(b"meta")
    if begin < 4:
        return data
    end = begin - 4 + int.from_bytes(data[begin - 4 : begin], "big")
    return data[:begin] + entry.sub(rb"\1skip", data[begin:end]) + data[end:]
