"""MP4 and H.264 in bytes: boxes, samples, fragments, parameter sets. Pure but for the file that is read."""
