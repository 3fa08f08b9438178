"""Stage ``download``: bring the images and masks to ``data/raw/``, in the Kaggle layout."""

from fishseg import params
from fishseg.datasets import sources
from fishseg.images.mask_rule import AUTO, parse_rule
from stages import RAW, run


def main() -> None:
    """Download, and refuse what a later stage could not use: those before it are slow."""
    wanted = params.load(params.DataParams)
    params.check_places()
    if wanted.mask_values != AUTO:
        parse_rule(wanted.mask_values)
    sources.download(wanted, RAW)


if __name__ == "__main__":
    run(main)
