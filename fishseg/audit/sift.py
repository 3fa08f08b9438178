"""Which pictures may show the same where a copy was cropped or scaled as well: local features.

Slower than `fishseg.audit.polar`, which takes it that copy and photo have their middle in common,
and therefore only tried on what that could not place.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fishseg.audit.grey_image import content

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fishseg.audit.grey_image import Affine, Grey

_FEATURES = 500
# Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 2004.
_RATIO = 0.8
_TOLERANCE_PX = 3.0
# A similarity is given by two points; agreement of so many more is no accident.
_MIN_INLIERS = 8


@dataclasses.dataclass(frozen=True)
class Features:
    """SIFT keypoints of a picture: ``points`` (n, 2) x and y, ``descriptors`` (n, 128)."""

    points: NDArray[np.float32]
    descriptors: NDArray[np.float32]


def detect(pixels: Grey) -> Features:
    """The features of a picture ``(h, w)``, away from the edge of its content."""
    shown = content(pixels).astype(np.uint8)
    inner = cv2.erode(shown, np.ones((9, 9), np.uint8), borderValue=0)
    keypoints, descriptors = cv2.SIFT.create(nfeatures=_FEATURES).detectAndCompute(pixels, inner)
    if descriptors is None:
        return Features(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32))
    return Features(np.array([keypoint.pt for keypoint in keypoints], np.float32), descriptors)


def find_similarity(source: Features, copy: Features) -> tuple[int, Affine] | None:
    """How many points agree on one similarity, and the map from source to copy it is.

    Nothing where fewer agree than could by accident.
    """
    if min(len(source.points), len(copy.points)) < _MIN_INLIERS:
        return None
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(copy.descriptors, source.descriptors, k=2)
    matches = [best for best, second in pairs if best.distance < _RATIO * second.distance]
    if len(matches) < _MIN_INLIERS:
        return None
    cv2.setRNGSeed(0)
    similarity, inliers = cv2.estimateAffinePartial2D(
        source.points[[match.trainIdx for match in matches]],
        copy.points[[match.queryIdx for match in matches]],
        method=cv2.RANSAC,
        ransacReprojThreshold=_TOLERANCE_PX,
    )
    if similarity is None:
        return None
    # A point may have several descriptors, one for each of its orientations.
    agreeing = copy.points[[match.queryIdx for match in matches]][inliers.ravel() > 0]
    n_agreeing = len(np.unique(agreeing, axis=0))
    if n_agreeing < _MIN_INLIERS:
        return None
    return n_agreeing, np.vstack([similarity, [0, 0, 1]])
