"""From a mask to fish: instances, sizes, COCO annotations."""
