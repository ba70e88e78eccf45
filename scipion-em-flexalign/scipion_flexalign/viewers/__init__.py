from .. import protocols
from .viewer_flexalign import FlexAlignViewer

__all__ = ["FlexAlignViewer"]

if "ProtTsFlexAlign" in protocols.__all__:
    from .viewer_ts_flexalign import FlexAlignTiltSeriesViewer

    __all__ += ["FlexAlignTiltSeriesViewer"]
