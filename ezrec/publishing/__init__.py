"""The upload stage: a finished video becomes an object, a row and a status, exactly once in effect."""
