"""Align movies in a format of one's own: here, a folder with one file for each frame."""

from pathlib import Path

import numpy as np

from flexalign import AlignParams, MovieInfo, RawFrame, SeekableMovie, align_movie


class FolderMovie(SeekableMovie):
    """A folder of frames in ``.npy`` files."""

    def __init__(self, folder: str) -> None:
        self.paths = sorted(Path(folder).glob("*.npy"))
        first = np.load(self.paths[0], mmap_mode="r")
        super().__init__(
            MovieInfo(
                path=folder,
                file_format="frames in npy",
                frame_count=len(self.paths),
                height_px=first.shape[0],
                width_px=first.shape[1],
                pixel_dtype=first.dtype.name,
                pixel_size_A=1.5,  # or None, if it is not known
                size_bytes=sum(path.stat().st_size for path in self.paths),
            )
        )

    def read_frame(self, index: int) -> RawFrame:
        """One frame; called from several threads at once."""
        try:
            return RawFrame(index, np.load(self.paths[index]))
        except (OSError, ValueError) as error:  # the others are aligned without it
            return RawFrame(index, None, problem=f"it cannot be read: {error}")


result = align_movie(FolderMovie("frames"), AlignParams(dose_per_frame_e_A2=1.2))
print(result.motion, result.quality.flag_names)
