"""The two streaming passes over a movie; each holds a few full frames, whatever their number.

`first` reads the frames to align, corrects and down-samples them, with the down-sampled frames in
`small_frames`, the sums of raw frames in `raw_sums`, and the search for bad frames in
`frame_selection`.  `second` reads the frames to sum, and sums them along the motion.  `raw_frames`
has them decoded or, on a GPU, rendered.
"""

from flexalign.passes.first import FirstPass as FirstPass
from flexalign.passes.first import first_pass as first_pass
from flexalign.passes.second import frame_weights as frame_weights
from flexalign.passes.second import second_pass as second_pass
