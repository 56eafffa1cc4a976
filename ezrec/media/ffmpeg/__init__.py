"""FFmpeg's programs: their arguments, one child at a time with limits, and what ffprobe saw."""
