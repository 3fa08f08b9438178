"""Stage ``download``: bring the images and masks to ``data/raw/``, in the Kaggle layout."""

from fishseg import params
from fishseg.datasets import sources
from fishseg.images.mask_rule import AUTO, parse_rule
from stages import RAW, run


def main() -> None:
    """Download, and refuse a rule for the masks that is none: the stage that reads them is slow."""
    wanted = params.load(params.DataParams)
    if wanted.mask_values != AUTO:
        parse_rule(wanted.mask_values)
    sources.download(wanted, RAW)


if __name__ == "__main__":
    run(main)
