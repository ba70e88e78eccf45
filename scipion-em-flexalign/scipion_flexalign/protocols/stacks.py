"""Stacks in which a tilt that was left out keeps its place, as a blank image."""

import os
import shutil

import mrcfile


def write_stack(path, source, places):
    """Write the images of a stack at new places.

    Parameters
    ----------
    path : of the new stack, which is written whole or not at all
    source : path of the stack with the images
    places : for each image of the new stack its place in the source, from 0; None = a blank image,
        which has the mean of the image before it (or of the first) in every pixel
    """
    partial = path + ".partial"
    for old in (partial, path):  # a file is not renamed to another name of itself
        if os.path.exists(old):
            os.remove(old)
    if list(places) == list(range(_count(source))):
        _link(source, partial)
    else:
        _write(partial, source, places)
    os.replace(partial, path)


def _count(path):
    with mrcfile.mmap(path, mode="r", permissive=True) as stack:
        return len(stack.data)


def _link(source, path):
    """The same file under another name, or a copy where the file system knows no links."""
    try:
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)


def _write(path, source, places):
    with mrcfile.mmap(source, mode="r", permissive=True) as images:
        shape = (len(places),) + images.data.shape[1:]
        mode = int(images.header.mode)
        with mrcfile.new_mmap(path, shape, mrc_mode=mode, overwrite=True) as stack:
            last = next(place for place in places if place is not None)
            for index, place in enumerate(places):
                last = last if place is None else place
                image = images.data[last]
                stack.data[index] = image.mean() if place is None else image
            stack.set_image_stack()
            stack.voxel_size = images.voxel_size
            stack.update_header_stats()
