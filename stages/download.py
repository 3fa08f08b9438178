"""Stage ``download``: bring the images and masks to ``data/raw/``, in the Kaggle layout."""

from fishseg import params
from fishseg.datasets import sources
from stages import RAW, run


def main() -> None:
    """Download."""
    sources.download(params.load(params.DataParams), RAW)


if __name__ == "__main__":
    run(main)
