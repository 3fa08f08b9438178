"""Image files to arrays: the only place that decodes them.

Sizes are ``(height, width)`` in pixels.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError
from pillow_heif import register_heif_opener

from fishseg.errors import DataError
from fishseg.images.metadata import ORIENTATION, UPRIGHT, exif_orientation, without_metadata

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo"}
    | {".png", ".tif", ".tiff", ".webp"}
)
# Naming them keeps a renamed file away from Pillow's other decoders, some of which start programs.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "PNG", "TIFF", "WEBP")
LOSSY = ("AVIF", "HEIF", "JPEG", "MPO")
register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)

# Room for a panorama of 20,000 x 10,000 pixels, which takes 600 MB as RGB. Pillow, whose own limits
# are lower, warns from here on; nothing of more is decoded.
MAX_PIXELS = 200_000_000
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
# Whoever is told that such a picture is refused needs no warning of Pillow before. Not around each
# use: the filters of warnings are common to all threads.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# As many pixels of 16-bit RGBA, and room for what comes with them.
MAX_BYTES = 2 * 2**30
# What brings the pixels of each EXIF orientation upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path: Path) -> NDArray[np.uint8]:
    """The first frame of an image file, upright, as RGB.

    Transparent parts are shown over black, which is also what fills the corners of the data set's
    rotated copies. An EXIF orientation is applied; a colour profile is not. 16-bit grey is scaled
    to 8 bits by 1/257, so that white stays white; of 16-bit colour Pillow keeps the high bytes,
    which is the same to within one level.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        DataError: the file is missing, empty, truncated, damaged, too large, no image, or has
            32-bit pixels, whose white nobody can know.
    """
    return _as_rgb(decode(path).image, path)


def rgb_of(image: Image.Image) -> NDArray[np.uint8]:
    """What `read_image` gives of a file, of an image that Pillow has opened or made.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        DataError: its file is damaged or too large, or it has 32-bit pixels, whose white nobody can
            know.
    """
    where = getattr(image, "filename", None) or "an image of Pillow"
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(where)
    try:
        image.load()
        # Odd tags raise all kinds of exceptions; one that cannot be read turns nothing.
        with contextlib.suppress(Exception):
            turn = TURNS.get(image.getexif().get(ORIENTATION, UPRIGHT))
            image = image if turn is None else image.transpose(turn)
    except Exception as error:
        raise _damaged(where, error) from None
    return _as_rgb(image, where)


def _as_rgb(image: Image.Image, where: Path | str) -> NDArray[np.uint8]:
    if image.mode in ("I", "F"):
        raise unknown_white(where)
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257
        return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
    return over_black(image)


class Decoded(NamedTuple):
    """A decoded file.

    Attributes:
        image: upright and in memory, in the mode it was stored in.
        lossy: whether its format changes levels by a little.
        level_step: how far its levels lie apart: 17 of 4-bit grey, 85 of 2-bit grey, or else 1.
    """

    image: Image.Image
    lossy: bool
    level_step: int


def decode(path: Path) -> Decoded:
    """The first frame of a file.

    What the file says beside its pixels decides nothing: see `fishseg.images.metadata`.
    """
    try:
        data, orientation = without_metadata(_read(path))
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(path)
            lossy = image.format in LOSSY or (image.format == "WEBP" and b"VP8L" not in data[:200])
            level_step = _level_step(image)
            image.load()
            if image.format == "AVIF":
                # Pillow hands on the turn that the file's own box asks for instead of turning.
                orientation = exif_orientation(image.info.get("exif", b""))
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except UnidentifiedImageError:
        empty = path.stat().st_size == 0
        raise DataError(
            "the file is empty" if empty else "the file is no image that can be read",
            where=path,
            expected="PNG, JPEG, HEIC, AVIF, TIFF, BMP, GIF or WebP",
            remedy="fetch it again, convert it, or remove it",
        ) from None
    # Decoders answer damaged bytes with all kinds of exceptions, SyntaxError and struct.error too.
    except Exception as error:
        raise _damaged(path, error) from None
    turn = TURNS.get(orientation)
    return Decoded(image if turn is None else image.transpose(turn), lossy, level_step)


def _level_step(image: ImageFile.ImageFile) -> int:
    """Pillow spreads 2 and 4 bits over 0 to 255, which turns a label 1 into 85 or 17."""
    arguments = image.tile[0].args if image.tile else None
    raw_mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return {"L;2": 85, "L;4": 17}.get(str(raw_mode)[:3], 1)


def _read(path: Path) -> bytes:
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise DataError(
            f"the file has {path.stat().st_size:,} bytes, more than any image that can be read",
            where=path,
            expected=f"{MAX_BYTES:,} bytes at most",
            remedy="make it smaller, or remove it",
        )
    return path.read_bytes()


def over_black(image: Image.Image) -> NDArray[np.uint8]:
    """RGB ``(H, W, 3)`` of an image of any 8-bit mode, transparent parts over black."""
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        # Pillow makes no RGBA of grey whose opacity is multiplied in.
        image = image.convert("LA") if image.mode == "La" else image
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _too_large(path: Path | str) -> DataError:
    return DataError(
        f"the image has more than {MAX_PIXELS:,} pixels",
        where=path,
        expected="for example 20,000 x 10,000 pixels at most",
        remedy="make it smaller, or cut it into parts",
    )


def unknown_white(path: Path | str) -> DataError:
    """The refusal of 32-bit levels, where they have to be shown or compared."""
    return DataError(
        "the pixels are 32-bit numbers, and the file does not say which of them is white",
        where=path,
        expected="8 or 16 bits per channel",
        remedy="save it as 8-bit PNG",
    )


def _damaged(path: Path | str, error: Exception) -> DataError:
    if isinstance(error, OSError) and error.strerror:
        return DataError(
            f"the file cannot be read: {error.strerror}",
            where=path,
            remedy="check that it is there and that you may read it",
        )
    if isinstance(error, MemoryError):
        return DataError(
            "there is not enough memory to decode the image",
            where=path,
            remedy="make it smaller, or close other programs",
        )
    return DataError(
        f"the file is damaged or cut off ({' '.join(str(error).split()) or type(error).__name__})",
        where=path,
        expected="a complete image file",
        remedy="fetch it again, or remove it",
    )
