"""The process stage: takes become one finished video, with the club's intro and logo."""
