"""All designed studies by name, in the order in which the full profile runs them."""

from studies.designed import (
    augmentation,
    batch_size,
    data_size,
    depth,
    ends,
    heads,
    ladder,
    lr,
    scale,
    variants,
)

_STUDIES = (
    *(ladder, depth, ends, scale, data_size),
    *(batch_size, augmentation, lr, variants, heads),
)
DESIGNS = {study.DESIGN.name: study.DESIGN for study in _STUDIES}
