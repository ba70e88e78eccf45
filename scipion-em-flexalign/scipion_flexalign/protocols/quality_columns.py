"""Columns of Scipion's tables that say how the alignment of a movie went."""

import pyworkflow.object as pwobj

NUMBERS = {
    "_flexalign_TotalMotion": "total_motion_A",
    "_flexalign_EarlyMotion": "early_motion_A",
    "_flexalign_LocalRange": "local_range_A",
}


def set_quality(item, quality):
    """Set the columns of `item` by the quality numbers of a movie; None = all empty."""
    for column, name in NUMBERS.items():
        setattr(item, column, pwobj.Float(quality[name] if quality else None))
    flags = quality["flags"] if quality else ()
    item._flexalign_Flags = pwobj.String(" ".join(flag["name"] for flag in flags))
