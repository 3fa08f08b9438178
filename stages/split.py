"""Stage ``split``: ``data/inventory.csv`` to ``data/manifest.csv`` and ``metrics/split.json``."""

from fishseg import params, splits, tables
from stages import INVENTORY, MANIFEST, SPLIT, run, write_metrics


def main() -> None:
    """Assign every sample to train, val or test."""
    manifest = splits.make_manifest(
        tables.read_inventory(INVENTORY), params.load(params.SplitParams)
    )
    SPLIT.mkdir(parents=True, exist_ok=True)
    tables.write_manifest(manifest, MANIFEST, SPLIT / "manifest.parquet")
    write_metrics("split", splits.summary(manifest))


if __name__ == "__main__":
    run(main)
