"""Media files: `mp4/` reads and writes them, `ffmpeg/` runs FFmpeg's programs, `render/` makes the videos."""
