"""Pictures and masks as the world writes them, thousands of them: ``python -m benchmarks.fuzz``.

Each picture is written whole, read, and then given odd or damaged metadata, or cut off. What is
whole must be read, with the very pixels and the right way up; what is cut must be refused, or have
every pixel all the same; and nothing but a `DataError` may be raised. A picture that breaks this is
named with its number, by which ``picture(seed, number)`` makes it again.

Each mask is an area or two, written in one of the ways of other tools, in a few files. Either it is
read as what it shows, or the user is asked; never is it read as anything else.
"""

from __future__ import annotations

import argparse
import io
import logging
import random
import struct
import sys
import tempfile
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin
from tqdm import tqdm

from fishseg.audit.mask_values import OPTION_CHOICE, MaskValues, read_values, resolve_rule
from fishseg.errors import DataError
from fishseg.images.decoding import read_image
from fishseg.images.mask_rule import AUTO
from fishseg.images.masks import read_mask

log = logging.getLogger("fuzz")

# Fields of EXIF that cameras and editors write, without the orientation.
EXIF_TAGS = (
    *(
        256,
        257,
        258,
        259,
        262,
        270,
        271,
        272,
        277,
        282,
        283,
        284,
        296,
        305,
        306,
        315,
        316,
        513,
        514,
    ),
    *(529, 531, 532, 700, 33432, 33434, 33437, 34665, 34850, 34853, 34855, 36864, 37121, 37377),
    *(37500, 37510, 40961, 40965, 41486, 41728, 41995, 42036, 50341),
)
MODES = {
    "JPEG": ("L", "RGB", "CMYK"),
    "MPO": ("RGB",),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "YCbCr", "I;16"),
    "GIF": ("L", "P"),
    "BMP": ("1", "L", "P", "RGB"),
    "HEIF": ("L", "RGB", "RGBA"),
    "AVIF": ("RGB", "RGBA"),
}


# An EXIF block with one comment and no orientation: room for others.
PLACEHOLDER = (
    b"II*\0"
    + struct.pack("<IHHHIII", 8, 1, 270, 2, 60, 26, 0)
    + b"room for an EXIF block".ljust(60)
)


class Case(NamedTuple):
    """A file, what was done to it, and what must come of it.

    ``outcome`` is ``whole``: read with these pixels; ``cut``: refused, or read with these pixels;
    ``damaged``: refused or read.
    """

    name: str
    outcome: str
    data: bytes
    pixels: NDArray[np.uint8]


def picture(seed: int, number: int) -> Case:
    """One picture of the series, made anew from its number."""
    choose = random.Random(f"{seed}/{number}")
    kind = choose.choice(list(MODES))
    mode = choose.choice(MODES[kind])
    data = encode(kind, mode, choose)
    pixels = stored_pixels(data)
    name = f"{kind} {mode}"
    outcome = choose.choice(["whole", "whole", "whole", "cut", "damaged"])
    if outcome == "cut":
        data = data[: choose.randrange(len(data))]
    elif outcome == "damaged":
        damaged = bytearray(data)
        for _ in range(choose.randint(1, 8)):
            damaged[choose.randrange(len(damaged))] = choose.randrange(256)
        data = bytes(damaged)
    elif kind in ADD_METADATA:
        orientation = choose.choice([None, None, *range(1, 9), 0, 9, 255])
        data = ADD_METADATA[kind](data, orientation, choose)
        # HEIC and AVIF are turned by a box of their own, whatever their EXIF block says.
        pixels = pixels if kind in ("HEIF", "AVIF") else upright(pixels, orientation)
    return Case(name, outcome, data, pixels)


def check(case: Case, scratch: Path) -> tuple[str, str | None]:
    """``read`` or ``refused``, and what is wrong with that, if anything."""
    scratch.write_bytes(case.data)
    try:
        found = read_image(scratch)
    except DataError as error:
        return "refused", None if case.outcome != "whole" else f"intact, but refused: {error.what}"
    except Exception as error:
        return "refused", f"{type(error).__name__}: {error}"
    same = found.shape == case.pixels.shape and np.array_equal(found, case.pixels)
    return "read", None if same or case.outcome == "damaged" else f"{case.outcome}, other pixels"


def stored_pixels(data: bytes) -> NDArray[np.uint8]:
    """The pixels of a file without metadata, by Pillow alone."""
    image: Image.Image
    with Image.open(io.BytesIO(data)) as image:
        image.load()
    if image.mode == "I;16":
        grey = np.rint(np.asarray(image) / 257).astype(np.uint8)
        return np.stack([grey] * 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), rgba)
    return np.asarray(image.convert("RGB"))


def encode(kind: str, mode: str, choose: random.Random) -> bytes:
    """A picture of a random size in a format and a mode."""
    width, height = choose.randint(8, 60), choose.randint(8, 60)
    noise = np.random.default_rng(choose.randrange(2**32))
    smooth = noise.integers(0, 256, (3, 4, 3), dtype=np.uint8)
    image = Image.fromarray(smooth).resize((width, height), Image.Resampling.BICUBIC)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode in ("LA", "RGBA"):
        image = image.convert(mode)
        image.putalpha(Image.fromarray(smooth[:, :, 0]).resize((width, height)))
    elif mode == "LAB":
        image = Image.frombytes("LAB", image.size, image.tobytes())
    else:
        image = image.convert(mode)
    options: dict[str, Any] = {}
    if kind in ("JPEG", "MPO"):
        options = {"quality": choose.randint(30, 100), "progressive": choose.random() < 0.3}
    if kind in ("MPO", "GIF", "WEBP", "PNG") and choose.random() < 0.4 and mode != "I;16":
        options |= {
            "save_all": True,
            "append_images": [image.transpose(Image.Transpose.ROTATE_180)],
        }
    if kind == "MPO":
        options |= {"save_all": True, "append_images": [image]}
    if kind == "PNG" and mode in ("L", "P") and choose.random() < 0.3:
        options |= {"transparency": choose.randrange(256)}
    if kind == "TIFF" and mode not in ("LAB", "I;16"):
        plain = ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"]
        # Of YCbCr Pillow writes packed files alone in a way that it can read.
        options |= {"compression": choose.choice(plain[1:] if mode == "YCbCr" else plain)}
    if kind in ("HEIF", "AVIF"):
        options |= {"exif": PLACEHOLDER, "xmp": b"<x:xmpmeta/>", "quality": 90}
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def upright(pixels: NDArray[np.uint8], orientation: int | None) -> NDArray[np.uint8]:
    """Stored pixels as the EXIF standard's table of orientations says they are shown."""
    turned = {
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: pixels.transpose(1, 0, 2)[:, ::-1],
        7: pixels.transpose(1, 0, 2)[::-1, ::-1],
        8: pixels.transpose(1, 0, 2)[::-1],
    }
    return turned.get(orientation or 1, pixels)


def exif(orientation: int | None, choose: random.Random) -> bytes:
    """An EXIF block, without its ``Exif`` head, with odd fields and perhaps an orientation."""
    order = choose.choice("<>")
    fields = [
        struct.pack(
            order + "HHI4s",
            choose.choice(EXIF_TAGS),
            choose.choice([*range(14), 129, 65535]),
            choose.choice([0, 1, 1, 2, 4, 2**31, 2**32 - 1]),
            bytes(choose.choice([0, 1, 8, 50, 255]) for _ in range(4)),
        )
        for _ in range(choose.randint(0, 6))
    ]
    if orientation is not None:
        value = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
        fields.insert(choose.randint(0, len(fields)), value)
    head = b"II*\0" if order == "<" else b"MM\0*"
    page = struct.pack(order + "IH", 8, len(fields)) + b"".join(fields)
    rest = choose.choice([b"", bytes(4), b"\xff" * 4, choose.randbytes(choose.randint(0, 60))])
    # What follows the list of fields may be missing or wild: the next page, values, a thumbnail.
    return head + page + rest


def _junk(choose: random.Random) -> bytes:
    size = choose.choice([0, 1, 7, 200, 3000])
    return choose.choice([bytes(size), b"A" * size, choose.randbytes(size)])


def _jpeg_metadata(data: bytes, orientation: int | None, choose: random.Random) -> bytes:
    def segment(marker: int, content: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content

    added = [segment(0xE1, b"Exif\0\0" + exif(orientation, choose))]
    for _ in range(choose.randint(0, 5)):
        marker = choose.choice([0xE0, 0xE1, 0xE2, 0xE2, 0xED, 0xEE, 0xEF, 0xFE])
        head = choose.choice(
            [
                b"",
                b"FPXR\0",
                b"ICC_PROFILE\0\x01\x01",
                b"MPF\0",
                b"http://ns.adobe.com/xap/1.0/\0",
                b"JFXX\0",
            ]
        )
        added.append(segment(marker, head + _junk(choose)))
    # Behind SOI, or behind the JFIF segment where there is one.
    place = 2
    if data[2:4] == b"\xff\xe0" and choose.random() < 0.5:
        place = 4 + int.from_bytes(data[4:6], "big")
    return data[:place] + b"".join(added) + data[place:]


def _png_chunk(name: bytes, content: bytes, *, sound: bool = True) -> bytes:
    checksum = zlib.crc32(name + content) ^ (0 if sound else 1)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def _png_metadata(data: bytes, orientation: int | None, choose: random.Random) -> bytes:
    added = [_png_chunk(b"eXIf", exif(orientation, choose))]
    long_text = zlib.compress(b"text" * choose.choice([1, 1000, 1_000_000]))
    for _ in range(choose.randint(0, 4)):
        name, content = choose.choice(
            [
                (b"zTXt", b"Comment\0\0" + long_text),
                (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + long_text),
                (b"tEXt", b"Comment\0" + b"A" * choose.choice([1, 100_000, 2_000_000])),
                (b"iCCP", b"odd\0\0" + long_text),
                (b"iCCP", _junk(choose)),
                (b"pHYs", _junk(choose)),
                (b"gAMA", _junk(choose)),
                (b"cHRM", _junk(choose)),
                (b"sRGB", _junk(choose)),
                (b"tIME", _junk(choose)),
                (b"acTL", _junk(choose)),
                (b"prVt", _junk(choose)),
            ]
        )
        added.append(_png_chunk(name, content, sound=choose.random() < 0.8))
    header_end = 8 + 12 + 13
    end = len(data) - 12 if data[-8:-4] == b"IEND" else header_end
    place = choose.choice([header_end, end])
    return data[:place] + b"".join(added) + data[place:]


def _webp_metadata(data: bytes, orientation: int | None, choose: random.Random) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)

    block = choose.choice([b"", b"Exif\0\0"]) + exif(orientation, choose)
    chunks = data[12:]
    if not chunks.startswith(b"VP8X"):
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            alpha = 0x10 if image.mode == "RGBA" else 0
        sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        chunks = chunk(b"VP8X", bytes([alpha, 0, 0, 0]) + sides) + chunks
    flags = chunks[8] | 0x08 | 0x04 | 0x20
    head, images = chunks[:8] + bytes([flags]) + chunks[9:18], chunks[18:]
    profile = chunk(b"ICCP", _junk(choose))
    trailing = chunk(b"EXIF", block) + chunk(b"XMP ", _junk(choose))
    body = b"WEBP" + head + profile + images + trailing
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _tiff_metadata(data: bytes, orientation: int | None, choose: random.Random) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    names = choose.sample([270, 271, 272, 305, 306, 315, 33432, 700, 34377, 34675], k=4)
    for tag in names:
        tags[tag] = _junk(choose) if tag in (700, 34377, 34675) else "a text"
    if orientation is not None:
        tags[274] = 1  # what is no orientation Pillow would not write
    file = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        compression = image.info.get("compression", "raw")
        image.save(file, "TIFF", tiffinfo=tags, compression=compression)
    damaged = bytearray(file.getvalue())
    (start,) = struct.unpack_from("<I", damaged, 4)
    (n_fields,) = struct.unpack_from("<H", damaged, start)
    for place in range(start + 2, start + 2 + 12 * n_fields, 12):
        (tag,) = struct.unpack_from("<H", damaged, place)
        if tag == 274:
            struct.pack_into("<HH", damaged, place + 8, orientation or 1, 0)
        if tag in names or tag in (282, 283, 296):
            # Any type, count and value: wherever it points to, no pixel lies there.
            struct.pack_into(
                "<HI", damaged, place + 2, choose.randrange(20), choose.choice([0, 1, 9])
            )
            damaged[place + 8 : place + 12] = choose.randbytes(4)
    return bytes(damaged)


def _heif_metadata(data: bytes, orientation: int | None, choose: random.Random) -> bytes:
    place = data.index(PLACEHOLDER)
    odd = exif(orientation, choose)[: len(PLACEHOLDER)].ljust(len(PLACEHOLDER), b"\xff")
    return data[:place] + odd + data[place + len(PLACEHOLDER) :]


ADD_METADATA: dict[str, Callable[[bytes, int | None, random.Random], bytes]] = {
    "JPEG": _jpeg_metadata,
    "MPO": _jpeg_metadata,
    "PNG": _png_metadata,
    "WEBP": _webp_metadata,
    "TIFF": _tiff_metadata,
    "HEIF": _heif_metadata,
    "AVIF": _heif_metadata,
}


def mask_set(seed: int, number: int, folder: Path) -> tuple[list[Path], NDArray[np.bool_], str]:
    """One to three files of one mask, where it is not 0, and how it is written."""
    choose = random.Random(f"mask {seed}/{number}")
    height, width = choose.randint(30, 90), choose.randint(30, 90)
    rows, columns = np.mgrid[:height, :width]
    middle, radius = (height / 2, width / 2), (choose.uniform(0.15, 0.4), choose.uniform(0.15, 0.4))
    distance = ((rows - middle[0]) / (radius[0] * height)) ** 2
    distance += ((columns - middle[1]) / (radius[1] * width)) ** 2
    fish = distance <= 1
    one, other = fish & (columns < middle[1]), fish & (columns >= middle[1])
    way = choose.choice(["grey", "deep", "rgb", "palette", "colour", "opacity", "jpeg", "jpeg-png"])
    # Small numbers do not outlive JPEG: no reader could tell them from its noise.
    small = [] if way.startswith("jpeg") else [1, 2, 3, 10]
    levels = [choose.choice([0, *small, 40, 85, 128, 170, 254, 255]) for _ in range(4)]
    background = choose.choice([0, 0, 0, levels[0]])
    values = np.full((height, width), background, np.uint16)
    values[one], values[other] = levels[1], choose.choice([levels[1], levels[1], levels[2]])
    if choose.random() < 0.3:
        values[(distance > 1) & (distance < 1.4)] = levels[3]
    if choose.random() < 0.1:
        values[0, choose.randrange(width)] = 255
    grey = Image.fromarray(values.astype(np.uint8))
    image: Image.Image = grey
    if way == "deep":
        image = Image.fromarray(values * choose.choice([1, 1, 257]))
    elif way == "rgb":
        image = grey.convert("RGB")
    elif way == "palette":
        image = Image.fromarray(values.astype(np.uint8), "P")
        image.putpalette([0, 0, 0, *(choose.randrange(256) for _ in range(765))])
    elif way == "colour":
        image = Image.merge("RGB", [grey, Image.new("L", grey.size), Image.new("L", grey.size)])
    elif way == "opacity":
        image = Image.merge("RGBA", [*grey.convert("RGB").split(), grey])
    elif way.startswith("jpeg"):
        file = io.BytesIO()
        grey.save(file, "JPEG", quality=choose.randint(30, 95))
        image = Image.open(file)
    suffix = "jpg" if way == "jpeg" else "png"
    paths = [folder / f"{place}.{suffix}" for place in range(choose.randint(1, 3))]
    for path in paths:
        image.save(path)
    return paths, values != 0, f"{way} {sorted({int(value) for value in np.unique(values)})}"


def check_mask(paths: list[Path], drawn: NDArray[np.bool_]) -> tuple[str, str | None]:
    """``read`` or ``asked``, and what is wrong with that, if anything."""
    try:
        found = [read_values(path) for path in paths]
        names = [path.name for path in paths]
        rule = resolve_rule(found, names, AUTO, choice=OPTION_CHOICE)
        mask = read_mask(paths[0], drawn.shape, rule)
    except DataError as error:
        return "asked", None if error.remedy and error.expected else "asked, without a remedy"
    except Exception as error:
        return "asked", f"{type(error).__name__}: {error}"
    # What has one meaning has fish wherever it is not 0. Compression moves edges, and a band of
    # grey as thin as it blurs an edge is taken for an edge.
    union = int((mask | drawn).sum())
    agrees = int((mask & drawn).sum()) / union if union else 1.0
    same = agrees > (0.8 if mask_is_lossy(found) else 0.99)
    return "read", None if same else f"read as something else: {agrees:.2f}"


def mask_is_lossy(found: list[MaskValues]) -> bool:
    """Whether compression has left more levels than were drawn."""
    return any(len(mask.values) > 5 for mask in found)


def main() -> None:
    """Check as many pictures and masks as asked for; exit 1 where one came out wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pictures", type=int, default=3000)
    parser.add_argument("--masks", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / "picture"
        for number in tqdm(range(options.pictures), desc="pictures", unit="picture"):
            case = picture(options.seed, number)
            came, complaint = check(case, scratch)
            counts[f"{case.outcome}: {came}"] += 1
            if complaint:
                wrong.append(f"picture {number} ({case.name}): {complaint}")
        for number in tqdm(range(options.masks), desc="masks", unit="mask"):
            paths, fish, name = mask_set(options.seed, number, Path(folder))
            came, complaint = check_mask(paths, fish)
            counts[f"mask: {came}"] += 1
            if complaint:
                wrong.append(f"mask {number} ({name}): {complaint}")
    for name, count in sorted(counts.items()):
        log.info("%5d  %s", count, name)
    if wrong:
        sys.exit("\n".join([f"{len(wrong)} came out wrong:", *wrong]))


if __name__ == "__main__":
    main()
