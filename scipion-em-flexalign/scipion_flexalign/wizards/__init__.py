from .wizard_gain import FlexAlignGainWizard

__all__ = ["FlexAlignGainWizard"]
