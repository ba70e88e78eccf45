import importlib.util

from .protocol_flexalign import ProtFlexAlign

__all__ = ["ProtFlexAlign"]

# Tilt series are objects of another plugin, which those who have none need not install.
if importlib.util.find_spec("tomo") is not None:
    from .protocol_ts_flexalign import ProtTsFlexAlign

    __all__ += ["ProtTsFlexAlign"]
