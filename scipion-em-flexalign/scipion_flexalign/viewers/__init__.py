from .viewer_flexalign import FlexAlignViewer

__all__ = ["FlexAlignViewer"]
